//! The state of a request that both a form token and a return target carry through the browser.

use super::codec::{Reader, put};
use super::parameters::Parameters;
use super::progress::Progress;

/// The way in which a request reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The request came with all its parameters in the query or the body.
    Plain,
    /// The request came as a signed request object. The signature was verified when it came.
    Signed,
}

impl Source {
    const ALL: [Self; 2] = [Self::Plain, Self::Signed];

    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Signed => "signed",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// The parameters of a request, with the state that the server keeps about it.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    pub(super) source: Source,
    pub(super) progress: Progress,
    pub(super) parameters: Parameters,
}

impl Carried {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.source.name().as_bytes());
        self.progress.encode(bytes);
        self.parameters.encode(bytes);
    }

    /// Reads the bytes that [`encode`](Self::encode) wrote, to their end.
    pub(super) fn decode(reader: &mut Reader<'_>, names: &[&'static str]) -> Option<Self> {
        Some(Self {
            source: Source::from_name(reader.text()?)?,
            progress: Progress::decode(reader)?,
            parameters: Parameters::decode(reader, names)?,
        })
    }
}
