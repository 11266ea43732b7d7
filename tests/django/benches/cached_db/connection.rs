//! HTTP/1.1 to gunicorn: as much of it as the benchmark needs, so that the visitors cost little.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const COOKIE: &str = "sessionid=";

/// A connection that stays open.
pub(crate) struct Connection {
    port: u16,
    stream: BufReader<TcpStream>,
    closed: bool,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Result<Self> {
        Ok(Self { port, stream: connect(port).await?, closed: false })
    }

    /// Sends a GET with this session key. Returns the body, and the session key if one is set.
    pub(crate) async fn get(&mut self, path: &str, key: Option<&str>) -> Result<(String, Option<String>)> {
        if self.closed {
            self.stream = connect(self.port).await?;
        }
        self.closed = true;
        let cookie = key.map_or_else(String::new, |key| format!("Cookie: {COOKIE}{key}\r\n"));
        let request = format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let is_well = line.starts_with("HTTP/1.1 200 ");
        let status = line.trim().to_owned();
        let (mut length, mut set, mut closes) = (None, None, false);
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line).await? > 0, "the connection ended in an answer");
            let Some((name, value)) = line.trim().split_once(':') else { break };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse::<usize>()?);
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("set-cookie") {
                set = value.strip_prefix(COOKIE).and_then(|value| value.split(';').next()).map(str::to_owned);
            }
        }
        let mut body = vec![0; length.context("an answer without a length")?];
        self.stream.read_exact(&mut body).await?;
        self.closed = closes;
        ensure!(is_well, "{path} was answered with {status}");
        Ok((String::from_utf8_lossy(&body).into_owned(), set))
    }
}

async fn connect(port: u16) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}
