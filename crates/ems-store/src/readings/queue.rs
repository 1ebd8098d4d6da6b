//! What waits for the writer, in the order in which it is served. Few readings do not wait behind
//! many, and only many are held back while the folder does not keep up.

use std::{
    collections::VecDeque,
    convert::Infallible,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use crate::{Batch, Outcome, Result};

/// Commits that wait for the writer at most; more wait in their own tasks.
const QUEUE: usize = 1024;
/// Commits that share one sync at most.
const GROUP: usize = 256;
/// Readings after which a group is closed: what comes next waits for no more than these.
const GROUP_READINGS: usize = 20_000;
/// Readings of a commit that goes before larger ones.
pub(crate) const FEW: usize = 64;
/// How often it is looked for others while the large ones are held back.
const LOOK: Duration = Duration::from_millis(1);

/// What the writer is asked; `O` is what only some backend's writer is.
pub(crate) enum Request<O = Infallible> {
    /// A batch, and whom to answer.
    Commit(Box<Batch>, oneshot::Sender<Result<Outcome>>),
    /// Fold all that is in memory; answer when it is done.
    Fold(oneshot::Sender<Result<()>>),
    /// Fold, answer, end.
    Close(oneshot::Sender<Result<()>>),
    /// Something that waits for no commit.
    Order(O),
}

/// A batch that waits, and whom to answer.
pub(crate) type Waiting = (Box<Batch>, oneshot::Sender<Result<Outcome>>);

/// What the writer does next.
pub(crate) enum Next<O = Infallible> {
    Order(O),
    Commit(Vec<Waiting>),
    Fold(oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<Result<()>>),
    /// Nobody can ask any more.
    End,
}

/// The writer's side of the queue.
pub(crate) struct Queue<O = Infallible> {
    requests: mpsc::Receiver<Request<O>>,
    orders: VecDeque<O>,
    few: VecDeque<Waiting>,
    many: VecDeque<Waiting>,
    /// Comes after all that waits, and before anything else.
    last: Option<Next<O>>,
    /// Whether it is the turn of the large ones.
    turn: bool,
    held_until: Option<Instant>,
}

impl<O> Queue<O> {
    /// An empty queue, and its other end.
    pub(crate) fn new() -> (mpsc::Sender<Request<O>>, Self) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let queue = Self {
            requests,
            orders: VecDeque::new(),
            few: VecDeque::new(),
            many: VecDeque::new(),
            last: None,
            turn: false,
            held_until: None,
        };
        (sender, queue)
    }

    /// Holds large commits back for a while.
    pub(crate) fn hold(&mut self, time: Duration) {
        self.held_until = Some(Instant::now() + time);
    }

    /// Waits for something to do.
    pub(crate) fn next(&mut self) -> Next<O> {
        loop {
            self.take_in();
            if let Some(order) = self.orders.pop_front() {
                return Next::Order(order);
            }
            if self.few.is_empty() && self.many.is_empty() {
                if let Some(last) = self.last.take() {
                    return last;
                }
                match self.requests.blocking_recv() {
                    Some(request) => self.put(request),
                    None => return Next::End,
                }
                // Where all cores are busy, those who are about to commit come first and share the
                // sync; where one is idle, this returns at once.
                std::thread::yield_now();
                continue;
            }
            let group = self.group();
            if !group.is_empty() {
                return Next::Commit(group);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn take_in(&mut self) {
        while self.last.is_none() && self.few.len() + self.many.len() < QUEUE {
            match self.requests.try_recv() {
                Ok(request) => self.put(request),
                Err(_) => return,
            }
        }
    }

    fn put(&mut self, request: Request<O>) {
        match request {
            Request::Commit(batch, answer) if batch.readings.len() <= FEW => {
                self.few.push_back((batch, answer));
            }
            Request::Commit(batch, answer) => self.many.push_back((batch, answer)),
            Request::Order(order) => self.orders.push_back(order),
            Request::Fold(answer) => self.last = Some(Next::Fold(answer)),
            Request::Close(answer) => self.last = Some(Next::Close(answer)),
        }
    }

    /// Small and large commits take turns. Nothing is held back from whoever waits for all of it.
    fn group(&mut self) -> Vec<Waiting> {
        let held = self.held_until.is_some_and(|until| Instant::now() < until);
        let ready = !self.many.is_empty() && (!held || self.last.is_some());
        self.turn = ready && (self.turn || self.few.is_empty());
        if !self.turn {
            self.turn = true;
            let count = self.few.len().min(GROUP);
            return self.few.drain(..count).collect();
        }
        self.turn = false;
        let mut group = Vec::new();
        let mut readings = 0;
        while readings < GROUP_READINGS && group.len() < GROUP {
            let Some(next) = self.many.pop_front() else {
                break;
            };
            readings += next.0.readings.len();
            group.push(next);
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use ems_core::reading::ReadingBatch;

    use super::*;
    use crate::contract::{meter, reading};

    fn ask(sender: &mpsc::Sender<Request>, readings: usize) {
        let mut batch = ReadingBatch::new();
        for at in 0..readings {
            batch.push(meter("a"), reading(i64::try_from(at).unwrap(), 1.0));
        }
        let batch = Batch {
            readings: batch,
            ..Batch::default()
        };
        let request = Request::Commit(Box::new(batch), oneshot::channel().0);
        assert!(sender.try_send(request).is_ok());
    }

    /// How many readings each commit of the next group brings.
    fn group(queue: &mut Queue) -> Vec<usize> {
        match queue.next() {
            Next::Commit(group) => group
                .iter()
                .map(|(batch, _)| batch.readings.len())
                .collect(),
            _ => panic!("no group"),
        }
    }

    #[test]
    fn few_readings_wait_for_one_group_of_many_at_most() {
        let (sender, mut queue) = Queue::<Infallible>::new();
        for readings in [15_000, 1, 15_000, 2, 15_000] {
            ask(&sender, readings);
        }
        assert_eq!(group(&mut queue), [1, 2]);
        ask(&sender, 3);
        assert_eq!(group(&mut queue), [15_000, 15_000], "their turn");
        assert_eq!(group(&mut queue), [3]);
        assert_eq!(group(&mut queue), [15_000]);
    }

    #[test]
    fn only_many_are_held_back_and_not_from_a_close() {
        let (sender, mut queue) = Queue::<Infallible>::new();
        queue.hold(Duration::from_hours(1));
        ask(&sender, 1000);
        ask(&sender, 1);
        ask(&sender, 1);
        assert_eq!(group(&mut queue), [1, 1]);
        ask(&sender, 1);
        assert_eq!(group(&mut queue), [1]);
        assert!(
            sender
                .try_send(Request::Close(oneshot::channel().0))
                .is_ok()
        );
        ask(&sender, 7);
        assert_eq!(group(&mut queue), [1000]);
        assert!(matches!(queue.next(), Next::Close(_)));
        assert_eq!(group(&mut queue), [7]);
        drop(sender);
        assert!(matches!(queue.next(), Next::End));
    }
}
