//! One connection through a proxy. Each way is read into a short queue and written from it, under the faults in force.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::faults::{End, Faults, Flow, Way};

const PIECE_BYTES: usize = 16 * 1_024;
const PIECES_MAX: usize = 64;

/// Serves a connection to its end.
pub(super) async fn serve(mut client: TcpStream, shared: &Shared, faults: watch::Receiver<Faults>) {
    shared.counters.connection();
    let begun = *faults.borrow();
    // This fails for a connection that has already ended; the first read then shows it.
    let _ = client.set_nodelay(true);
    let interrupted = interrupted(faults.clone(), begun.resets);
    tokio::pin!(interrupted);
    let connected = tokio::select! {
        connected = shared.upstream.connect() => connected,
        _ = &mut interrupted => return super::reset(&client),
    };
    // A dead server must not look like one that closed the connection in an orderly way.
    let Ok(mut server) = connected else { return super::reset(&client) };
    let asked = AtomicBool::new(false);
    let pipe = |way| Pipe { way, shared, asked: &asked, faults: faults.clone(), begun: begun.flows[way as usize] };
    let (up, down) = (pipe(Way::ToServer), pipe(Way::ToClient));
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            ended = async { tokio::try_join!(up.run(from_client, to_server), down.run(from_server, to_client)) } => {
                ended.err().unwrap_or(End::Close)
            }
            end = &mut interrupted => end,
        }
    };
    match end {
        End::Close => {
            // Errors concern connections that have already ended.
            let _ = client.shutdown().await;
            let _ = server.split().1.shutdown().await;
        }
        End::Reset => {
            super::reset(&client);
            server.reset();
        }
    }
}

/// Ends when all connections are reset, or the proxy is gone.
async fn interrupted(mut faults: watch::Receiver<Faults>, resets: u64) -> End {
    match faults.wait_for(|faults| faults.resets > resets).await {
        Ok(_) => End::Reset,
        Err(_) => End::Close,
    }
}

/// The bytes of one read. No bytes mean the end of the stream.
struct Piece {
    bytes: Vec<u8>,
    arrived: Instant,
    /// The share of the jitter for this piece, from 0 to 1.
    part: f64,
}

/// One way of one connection.
struct Pipe<'a> {
    way: Way,
    shared: &'a Shared,
    /// Whether bytes went to the server and no bytes to the client have followed yet: then they complete a round trip.
    asked: &'a AtomicBool,
    faults: watch::Receiver<Faults>,
    /// The count when the connection began.
    begun: Flow,
}

impl Pipe<'_> {
    /// Forwards everything up to the end of the stream, and passes the end on. An error ends the whole connection.
    async fn run(&self, from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<(), End> {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let half_closed = self.until(|flow| flow.half_closes > self.begun.half_closes);
        tokio::select! {
            forwarded = async { tokio::try_join!(self.read(from, sender), self.write(&mut to, receiver)) } => {
                forwarded?;
            }
            half_closed = half_closed => half_closed?,
        }
        // This fails if the receiver is already gone, and then nobody needs it.
        let _ = to.shutdown().await;
        Ok(())
    }

    async fn read(&self, mut from: impl AsyncRead + Unpin, sender: mpsc::Sender<Piece>) -> Result<(), End> {
        loop {
            self.until(|flow| !flow.held).await?;
            let mut bytes = Vec::with_capacity(PIECE_BYTES);
            tokio::select! {
                read = from.read_buf(&mut bytes) => read.map_err(|_| End::Reset)?,
                held = self.until(|flow| flow.held) => {
                    held?;
                    continue;
                }
            };
            let last = bytes.is_empty();
            let piece = Piece { bytes, arrived: Instant::now(), part: fastrand::f64() };
            if sender.send(piece).await.is_err() || last {
                return Ok(());
            }
        }
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), mut pieces: mpsc::Receiver<Piece>) -> Result<(), End> {
        let mut free_at = Instant::now();
        while let Some(piece) = pieces.recv().await {
            self.wait(|flow| piece.arrived + flow.delay + flow.jitter.mul_f64(piece.part)).await?;
            self.until(|flow| !flow.held).await?;
            let mut rest = &piece.bytes[..];
            while !rest.is_empty() {
                let rate = self.flow().bytes_per_second;
                // Fiftieths of a second: fine enough to look even.
                let some = rate.map_or(rest.len(), |rate| rest.len().min((rate as usize / 50).max(1)));
                let (now, later) = rest.split_at(some);
                self.forward(to, now).await?;
                rest = later;
                if let Some(rate) = rate {
                    free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(some as f64 / f64::from(rate));
                    // Another rate, or no rate, applies from the moment when it is switched.
                    self.wait(|flow| if flow.bytes_per_second == Some(rate) { free_at } else { Instant::now() })
                        .await?;
                }
                self.until(|flow| !flow.held).await?;
            }
            if piece.bytes.is_empty() {
                break;
            }
        }
        Ok(())
    }

    async fn forward(&self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), End> {
        let (may_pass, end) = self.shared.pass(self.way, bytes.len());
        // Counted before forwarding, so that the receiver of the bytes finds them counted.
        self.shared.counters.forwarded(self.way, may_pass, self.asked);
        to.write_all(&bytes[..may_pass]).await.map_err(|_| End::Reset)?;
        end.map_or(Ok(()), Err)
    }

    fn flow(&self) -> Flow {
        self.faults.borrow().flows[self.way as usize]
    }

    /// Waits until the faults are as `wanted`.
    async fn until(&self, wanted: impl Fn(&Flow) -> bool) -> Result<(), End> {
        let mut faults = self.faults.clone();
        let found = faults.wait_for(|faults| wanted(&faults.flows[self.way as usize])).await;
        found.map(drop).map_err(|_| End::Close)
    }

    /// Waits until an instant that the faults in force decide.
    async fn wait(&self, instant: impl Fn(&Flow) -> Instant) -> Result<(), End> {
        let mut faults = self.faults.clone();
        loop {
            let until = instant(&faults.borrow_and_update().flows[self.way as usize]);
            if until <= Instant::now() {
                return Ok(());
            }
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                changed = faults.changed() => changed.map_err(|_| End::Close)?,
            }
        }
    }
}
