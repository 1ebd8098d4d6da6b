//! What comes in at a server, as it says itself.

use std::{path::Path, sync::Arc};

use anyhow::{Result, ensure};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinHandle,
};

/// Keeps every command that a server is sent.
#[derive(Debug)]
pub struct Monitor {
    seen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Monitor {
    pub(super) async fn start(socket: &Path, admin: Option<&str>) -> Result<Self> {
        let mut stream = UnixStream::connect(socket).await?;
        let login = admin.map_or_else(String::new, |word| format!("AUTH admin {word}\r\n"));
        stream
            .write_all(format!("{login}MONITOR\r\n").as_bytes())
            .await?;
        let mut first = Vec::new();
        let expected = if admin.is_some() { 10 } else { 5 };
        while first.len() < expected {
            ensure!(stream.read_buf(&mut first).await? > 0, "no monitor");
        }
        ensure!(
            first.starts_with(b"+OK"),
            "{}",
            String::from_utf8_lossy(&first)
        );
        let seen = Arc::new(Mutex::new(first));
        let kept = Arc::clone(&seen);
        let reader = tokio::spawn(async move {
            let mut bytes = Vec::new();
            while stream.read_buf(&mut bytes).await.is_ok_and(|size| size > 0) {
                kept.lock().append(&mut bytes);
            }
        });
        Ok(Self { seen, reader })
    }

    /// What came in so far.
    pub fn seen(&self) -> Vec<u8> {
        self.seen.lock().clone()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
