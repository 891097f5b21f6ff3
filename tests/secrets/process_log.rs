//! Everything that the process logs: events of any crate through `tracing`, and panics.

use std::io;
use std::sync::{Mutex, Once};

use tracing_subscriber::fmt::format::FmtSpan;

use crate::watch::Watch;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static PANICS: Mutex<String> = Mutex::new(String::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts recording; the tests of this process share the record.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_writer(|| Log)
            .init();
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let mut panics = PANICS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            panics.push_str(&[panic.to_string(), format!("{panic:?}"), String::new()].join("\n"));
            drop(panics);
            default(panic);
        }));
    });
}

/// Asserts that the record so far shows no secret, and contains each of these words.
pub(crate) fn assert_nothing_leaked(watch: &Watch, words: &[&str]) {
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    watch.assert_none_in("the log of the process", &log, &[]);
    for word in words {
        assert!(log.contains(word), "the log does not contain {word}");
    }
    let panics = PANICS.lock().unwrap().clone();
    watch.assert_none_in("a panic", &panics, &[]);
    for who in ["authenticator", "grant handler", "storage", "observer", "page"] {
        assert!(panics.contains(&format!("the host's {who} fell over")), "no {who} ever panicked:\n{panics}");
    }
}
