//! A load generator for benches/http.sh: sends the same request again and again over connections that are kept alive, and
//! prints how many answers a second came. It does as little as it can, because it shares the processors with the server.
//!
//! ```text
//! load CONNECTIONS SECONDS METHOD URL [HEADER]... [--body BODY]
//! ```

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: load CONNECTIONS SECONDS METHOD URL [HEADER]... [--body BODY]");
    let (connections, seconds): (usize, f64) = (next()?.parse()?, next()?.parse()?);
    let (method, url) = (next()?, next()?);
    let rest = url.strip_prefix("http://").ok_or("an http URL")?;
    let (host, path) = rest.split_once('/').ok_or("a URL with a path")?;

    let mut request = format!("{method} /{path} HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\n");
    let mut body = String::new();
    while let Ok(argument) = next() {
        if argument == "--body" {
            body = next()?;
        } else {
            request.push_str(&argument);
            request.push_str("\r\n");
        }
    }
    if !body.is_empty() {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let request: &'static [u8] = (request + "\r\n" + &body).into_bytes().leak();

    let (start, mut workers) = (Instant::now(), JoinSet::new());
    for _ in 0..connections {
        workers.spawn(ask(host.to_owned(), request, start + Duration::from_secs_f64(seconds)));
    }
    let mut answers = 0;
    while let Some(done) = workers.join_next().await {
        answers += done??;
    }
    println!("{:.1}", f64::from(answers) / start.elapsed().as_secs_f64());
    Ok(())
}

/// One connection; returns how many answers it got. All of them must be 200.
async fn ask(host: String, request: &[u8], until: Instant) -> Result<u32, Failure> {
    let mut stream = TcpStream::connect(&host).await?;
    stream.set_nodelay(true)?;
    let (mut answers, mut received) = (0, Vec::with_capacity(4096));
    while Instant::now() < until {
        stream.write_all(request).await?;
        received.clear();
        loop {
            if stream.read_buf(&mut received).await? == 0 {
                return Err("the server closed the connection".into());
            }
            if length(&received)?.is_some_and(|length| received.len() >= length) {
                break;
            }
        }
        answers += 1;
    }
    Ok(answers)
}

/// How long the whole answer is, once its head is there.
fn length(answer: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?;
    if !text.starts_with("HTTP/1.1 200 ") {
        return Err(format!("not a 200: {}", String::from_utf8_lossy(answer)).into());
    }
    let mut headers = text.split("\r\n").filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.ok_or("an answer without a content-length")?;
    Ok(Some(head + 4 + length.trim().parse::<usize>()?))
}
