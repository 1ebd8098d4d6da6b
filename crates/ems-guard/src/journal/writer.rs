//! The thread that writes `security.log`, and the bounded queue that feeds it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Form, event::Event, file::LogFile, flood::Floods, line, ocsf};
use crate::alert::Sink;

/// Events that may wait to be written.
const QUEUED: usize = 8192;
/// How often the ends of floods are looked for.
const TICK: Duration = Duration::from_secs(1);

pub(super) enum Message {
    Event(Box<Event>),
    /// To be told of once everything before it is in the file.
    Flush(SyncSender<()>),
    Close,
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// Queues an event, without waiting; gives it back where the queue is full.
    pub(super) fn push(&self, event: Event) -> Result<(), Box<Event>> {
        use std::sync::mpsc::TrySendError::{Disconnected, Full};
        match self.sender.try_send(Message::Event(Box::new(event))) {
            Err(Full(Message::Event(event))) => Err(event),
            Err(Disconnected(_) | Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Queues a message, waiting for room.
    pub(super) fn send(&self, message: Message) {
        if self.sender.send(message).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Starts the thread. `start` is what the times of floods count from.
pub(super) fn start(
    (file, form): (LogFile, Form),
    sink: Option<Arc<dyn Sink>>,
    floods: Arc<Mutex<Floods>>,
    start: Instant,
) -> io::Result<(Queue, JoinHandle<()>)> {
    let (sender, receiver) = sync_channel(QUEUED);
    let lost = Arc::new(AtomicU64::new(0));
    let mut writer = Writer {
        file,
        form,
        sink,
        lost: Arc::clone(&lost),
        failing: false,
    };
    let thread = thread::Builder::new()
        .name("security-log".to_owned())
        .spawn(move || writer.run(&receiver, &floods, start))?;
    Ok((Queue { sender, lost }, thread))
}

struct Writer {
    file: LogFile,
    form: Form,
    sink: Option<Arc<dyn Sink>>,
    lost: Arc<AtomicU64>,
    /// Whether the last write failed, so that a full disk is told of once.
    failing: bool,
}

impl Writer {
    fn run(&mut self, receiver: &Receiver<Message>, floods: &Mutex<Floods>, start: Instant) {
        let mut looked = start.elapsed();
        loop {
            let next = receiver.try_recv().map_or_else(
                |_| {
                    // Nothing waits: what was written goes out before this thread rests.
                    let flushed = self.file.flush();
                    self.tell(&flushed);
                    receiver.recv_timeout(TICK)
                },
                Ok,
            );
            let ends = match next {
                Ok(Message::Event(event)) => {
                    self.write(&event);
                    false
                }
                Ok(Message::Flush(done)) => {
                    let flushed = self.file.flush();
                    self.tell(&flushed);
                    // Whoever waited may be gone.
                    let _ = done.send(());
                    false
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => true,
                Err(RecvTimeoutError::Timeout) => false,
            };
            let now = start.elapsed();
            if ends || now.saturating_sub(looked) >= TICK {
                looked = now;
                let summaries = floods.lock().drain(now, ends);
                summaries.iter().for_each(|event| self.write(event));
            }
            if ends {
                let flushed = self.file.flush();
                return self.tell(&flushed);
            }
        }
    }

    fn write(&mut self, event: &Event) {
        self.append(event);
        if let Some((sink, occurrence)) = self.sink.as_ref().zip(event.occurrence()) {
            sink.told(occurrence);
        }
    }

    fn append(&mut self, event: &Event) {
        let line = match self.form {
            Form::Guide => line::render(event),
            Form::Ocsf => line::render(&ocsf::event(event)),
        };
        let Some(line) = line else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let written = self.file.append(&line);
        if written.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(&written);
    }

    fn tell(&mut self, done: &io::Result<()>) {
        match done {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                tracing::error!(%error, "security.log cannot be written; its events are counted");
                self.failing = true;
            }
            Err(_) => {}
        }
    }
}
