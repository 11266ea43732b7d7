//! A client of a plain echo server sees each fault of the proxy.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use switchover_harness::{Counts, Direction, End, Proxy, Redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough to be sure that nothing comes.
const NEVER: Duration = Duration::from_millis(150);

/// Sends everything back, and ends a connection when the client ends it. Reports how each connection ended.
async fn echo() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ends, ended) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let ends = ends.clone();
            tokio::spawn(async move {
                let (mut reading, mut writing) = stream.split();
                let end = tokio::io::copy(&mut reading, &mut writing).await;
                let _ = writing.shutdown().await;
                let _ = ends.send(end.map(drop));
            });
        }
    });
    (address, ended)
}

async fn before_echo() -> Proxy {
    Proxy::start(echo().await.0).await.unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// Sends bytes and reads as many back.
async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, bytes);
    Ok(())
}

#[tokio::test]
async fn forwards_everything_and_the_end() {
    let proxy = before_echo().await;
    let (mut reading, mut writing) = connect(&proxy).await.into_split();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let copy = sent.clone();
    let sending = tokio::spawn(async move {
        writing.write_all(&copy).await.unwrap();
        writing.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    reading.read_to_end(&mut received).await.unwrap();
    sending.await.unwrap();
    assert!(sent == received, "what came back is not what was sent");
}

#[tokio::test]
async fn round_trips_and_bytes_are_counted() {
    let proxy = before_echo().await;
    let mut stream = connect(&proxy).await;
    for _ in 0..5 {
        ask(&mut stream, b"abc").await.unwrap();
    }
    let mut other = connect(&proxy).await;
    ask(&mut other, b"abcd").await.unwrap();
    let counts = proxy.counts();
    assert_eq!((counts.connections, counts.round_trips), (2, 6));
    assert_eq!((counts.bytes_to_server, counts.bytes_to_client), (19, 19));
    proxy.reset_counts();
    assert_eq!(proxy.counts(), Counts::default());
    // Two requests that are sent together are one round trip: the answers are held until both are through.
    proxy.hold(Direction::ToClient);
    for _ in 0..2 {
        stream.write_all(b"xy").await.unwrap();
    }
    while proxy.counts().bytes_to_server < 4 {
        tokio::task::yield_now().await;
    }
    proxy.heal().await.unwrap();
    stream.read_exact(&mut [0; 4]).await.unwrap();
    assert_eq!(proxy.counts().round_trips, 1);
}

#[tokio::test]
async fn delay_is_of_time_and_not_of_throughput() {
    let proxy = before_echo().await;
    let mut stream = connect(&proxy).await;
    let begun = Instant::now();
    proxy.delay(Direction::Both, Duration::from_millis(60), Duration::from_millis(20));
    ask(&mut stream, b"a").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(120));
    proxy.delay(Direction::ToServer, Duration::from_millis(100), Duration::ZERO);
    proxy.delay(Direction::ToClient, Duration::ZERO, Duration::ZERO);
    let begun = Instant::now();
    ask(&mut stream, &vec![7; 30 * 16 * 1_024]).await.unwrap();
    // The 30 pieces would take three seconds one after the other.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(1_500), "{took:?}");
    proxy.delay(Direction::Both, Duration::from_secs(3_600), Duration::ZERO);
    let (asked, healed) = tokio::join!(ask(&mut stream, b"b"), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        proxy.heal().await
    });
    asked.unwrap();
    healed.unwrap();
}

#[tokio::test]
async fn throttle_slows_down_one_way() {
    let proxy = before_echo().await;
    let mut stream = connect(&proxy).await;
    proxy.throttle(Direction::ToClient, 20_000);
    let begun = Instant::now();
    ask(&mut stream, &[1; 6_000]).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(250));
    proxy.throttle(Direction::Both, 1);
    stream.write_all(&[1; 5_000]).await.unwrap();
    proxy.heal().await.unwrap();
    stream.read_exact(&mut [0; 5_000]).await.unwrap();
}

#[tokio::test]
async fn hold_swallows_nothing_and_lets_nothing_through() {
    let proxy = before_echo().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"a").await.unwrap();
    for direction in [Direction::ToServer, Direction::ToClient, Direction::Both] {
        proxy.hold(direction);
        let mut new = connect(&proxy).await;
        stream.write_all(b"b").await.unwrap();
        new.write_all(b"c").await.unwrap();
        assert!(timeout(NEVER, stream.read_u8()).await.is_err());
        assert!(timeout(NEVER, new.read_u8()).await.is_err());
        proxy.heal().await.unwrap();
        assert_eq!((stream.read_u8().await.unwrap(), new.read_u8().await.unwrap()), (b'b', b'c'));
    }
}

#[tokio::test]
async fn reset_is_seen_at_both_sides_and_ends_with_it() {
    let (address, mut ended) = echo().await;
    let proxy = Proxy::start(address).await.unwrap();
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"a").await.unwrap();
    proxy.reset();
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ended.recv().await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    ask(&mut connect(&proxy).await, b"a").await.unwrap();
}

#[tokio::test]
async fn refused_are_only_the_new_ones() {
    let proxy = before_echo().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"a").await.unwrap();
    proxy.refuse().await;
    assert_eq!(TcpStream::connect(proxy.address()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    ask(&mut stream, b"b").await.unwrap();
    proxy.heal().await.unwrap();
    ask(&mut connect(&proxy).await, b"c").await.unwrap();
}

#[tokio::test]
async fn cut_comes_after_so_many_bytes_and_once() {
    for end in [End::Close, End::Reset] {
        let (address, mut ended) = echo().await;
        let proxy = Proxy::start(address).await.unwrap();
        let mut stream = connect(&proxy).await;
        ask(&mut stream, b"a").await.unwrap();
        proxy.cut_after(Direction::ToServer, 5, end);
        ask(&mut stream, b"abc").await.unwrap();
        stream.write_all(b"defg").await.unwrap();
        let mut rest = Vec::new();
        let seen = stream.read_to_end(&mut rest).await;
        let served = ended.recv().await.unwrap();
        match end {
            End::Close => assert!(seen.is_ok() && served.is_ok(), "{seen:?} {served:?}"),
            End::Reset => {
                assert_eq!(seen.unwrap_err().kind(), ErrorKind::ConnectionReset);
                assert!(served.is_err());
            }
        }
        assert_eq!(proxy.counts().bytes_to_server, 6);
        ask(&mut connect(&proxy).await, b"abcdefgh").await.unwrap();
        proxy.cut_after(Direction::ToClient, 2, end);
        let mut stream = connect(&proxy).await;
        stream.write_all(b"abc").await.unwrap();
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ab");
        assert!(stream.read_u8().await.is_err());
    }
}

#[tokio::test]
async fn half_close_ends_one_way_alone() {
    let (address, _ended) = echo().await;
    let proxy = Proxy::start(address).await.unwrap();
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"a").await.unwrap();
    proxy.half_close(Direction::ToClient);
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let before = proxy.counts().bytes_to_server;
    stream.write_all(b"still").await.unwrap();
    while proxy.counts().bytes_to_server < before + 5 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dead_server_is_a_reset() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(address).await.unwrap();
    assert_eq!(connect(&proxy).await.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn dropped_proxy_closes_port_and_connections() {
    let proxy = before_echo().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"a").await.unwrap();
    let address = proxy.address();
    drop(proxy);
    assert!(stream.read_u8().await.is_err());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn stands_before_a_real_server_by_tcp_and_socket() {
    let server = Redis::start().await.unwrap();
    let socket = server.folder().join("socket");
    for proxy in [Proxy::start(server.address()).await.unwrap(), Proxy::start(socket).await.unwrap()] {
        let mut stream = connect(&proxy).await;
        stream.write_all(b"PING\r\n").await.unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
        assert_eq!(proxy.counts().round_trips, 1);
        assert_eq!(proxy.url_of(&server.url()).unwrap(), format!("redis://{}/0", proxy.address()));
    }
}

#[tokio::test]
async fn address_keeps_all_but_host_and_port() {
    let proxy = before_echo().await;
    let at = proxy.address();
    assert_eq!(proxy.url_of("mysql://u:p@h:1/d?a=b@c").unwrap(), format!("mysql://u:p@{at}/d?a=b@c"));
    assert_eq!(proxy.url_of("rediss://h").unwrap(), format!("rediss://{at}"));
    assert!(proxy.url_of("postgres:///d?host=/s").is_err());
    assert!(proxy.url_of("h:1").is_err());
}
