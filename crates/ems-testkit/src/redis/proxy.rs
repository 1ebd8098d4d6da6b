//! Something between a client and a server: passes bytes on, late or never, or cuts the connection.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// How it treats what comes.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// How late it passes on what the server answers.
    delay: Duration,
    /// Whether it takes what comes and passes nothing on.
    hole: bool,
    /// Connections of an earlier number are closed.
    cut: u64,
}

/// A proxy of one server; gone when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    listener: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let way = Way {
            delay: Duration::ZERO,
            hole: false,
            cut: 0,
        };
        let (sender, receiver) = watch::channel(way);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, receiver.clone()));
            }
        });
        Ok(Self {
            address,
            way: sender,
            listener,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has answers come so much later.
    pub fn delay(&self, delay: Duration) {
        self.way.send_modify(|way| way.delay = delay);
    }

    /// Passes nothing on any more, in either direction, and keeps connections open: a partition.
    pub fn part(&self) {
        self.way.send_modify(|way| way.hole = true);
    }

    /// Passes on what comes from now on; what came meanwhile is lost.
    pub fn heal(&self) {
        self.way.send_modify(|way| way.hole = false);
    }

    /// Closes every connection where it is.
    pub fn cut(&self) {
        self.way.send_modify(|way| way.cut += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

/// One connection, until either side ends it or it is cut.
async fn connect(client: TcpStream, server: SocketAddr, mut way: watch::Receiver<Way>) {
    let begun = way.borrow().cut;
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (ways, back) = (way.clone(), way.clone());
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from_client, to_server, ways, false) => {}
        () = pass(from_server, to_client, back, true) => {}
        _ = way.wait_for(|way| way.cut > begun) => {}
    }
}

/// Passes one direction on; each piece late by itself, so that a delay makes nothing slower.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: watch::Receiver<Way>,
    late: bool,
) {
    let (sender, mut pieces) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async {
        let mut piece = Vec::with_capacity(1 << 14);
        while from.read_buf(&mut piece).await.is_ok_and(|size| size > 0) {
            let now = *way.borrow();
            let due = Instant::now() + if late { now.delay } else { Duration::ZERO };
            if !now.hole && sender.send((due, piece.clone())).is_err() {
                return;
            }
            piece.clear();
        }
    };
    let write = async {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if way.borrow().hole {
                continue;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
