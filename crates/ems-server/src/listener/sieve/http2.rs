//! Frames of HTTP/2 that cost us work and bring nothing, counted: past what an honest client needs
//! the connection ends with `ENHANCE_YOUR_CALM` (RFC 9113 §10.5).
//!
//! hyper answers PING and SETTINGS without an end, and an attacker pays 17 bytes for each. Only the
//! nine bytes before a payload are read here.

use std::time::Duration;

use tokio::time::Instant;

use super::Cut;

const FRAME_HEADER: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// The time in which frames are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// What needs no reason in that time: the SETTINGS, priorities and windows with which a client begins
/// (browsers: up to ten), a PING a second of the most anxious, answers to ours.
const FREE: u64 = 100;
/// For each request begun: a window opened on its stream and on the connection, a change of priority,
/// trailers or an end.
const PER_REQUEST: u64 = 4;
/// For so many bytes that we sent, one: clients of the simplest kind open both windows after each of
/// our DATA frames, and those of anything long are well over a kilobyte. The answers to PING and
/// SETTINGS that a flood gets itself come to a thirtieth of its frames.
const SENT_PER_FRAME: u64 = 512;
/// DATA that brings less, and is not the last, brings nothing. Padding may take 256 bytes of it.
const LEAST_DATA: u32 = 16;
const MOST_PADDING: u32 = 256;
/// Requests that may be taken back: every second one. Rapid reset takes back all.
const REQUESTS_PER_RESET: u64 = 2;

/// More than hyper takes for one block of fields.
const TOO_MANY_PIECES: usize = 64;

/// The frames of one connection so far.
#[derive(Debug)]
pub(super) struct Frames {
    /// The frame header that is being read.
    header: [u8; FRAME_HEADER],
    come: usize,
    /// What is to come of the frame's payload.
    payload: u32,
    /// The newest stream.
    newest: u32,
    /// The stream whose block of fields is open.
    open: Option<u32>,
    now: Count,
    /// The window before: what it brought may be answered in this one.
    before: Count,
    since: Instant,
    too_many: bool,
}

/// What was counted in one window.
#[derive(Debug, Default)]
struct Count {
    idle: u64,
    resets: u64,
    requests: u64,
    sent: u64,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            header: [0; FRAME_HEADER],
            come: 0,
            payload: 0,
            newest: 0,
            open: None,
            now: Count::default(),
            before: Count::default(),
            since: Instant::now(),
            too_many: false,
        }
    }

    /// Notes bytes that we sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.now.sent = self.now.sent.saturating_add(bytes);
    }

    /// Counts the frames that have come; cuts after the one that is too many.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Option<Cut> {
        let mut rest = bytes;
        loop {
            let whole = usize::try_from(self.payload).unwrap_or(usize::MAX);
            let (_, after) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
            let skipped = rest.len() - after.len();
            self.payload -= u32::try_from(skipped).unwrap_or(self.payload);
            rest = after;
            if self.payload == 0 && self.come == 0 && self.too_many {
                let keep = bytes.len() - rest.len();
                let last_words = self.last_words();
                return Some(Cut { keep, last_words });
            }
            let room = self.header.get_mut(self.come..).unwrap_or_default();
            let read = room.len().min(rest.len());
            let (head, after) = rest.split_at_checked(read)?;
            if head.is_empty() {
                return None;
            }
            room.get_mut(..read)?.copy_from_slice(head);
            self.come += read;
            rest = after;
            if self.come == FRAME_HEADER {
                self.come = 0;
                self.count();
            }
        }
    }

    /// Counts the frame whose header has come.
    fn count(&mut self) {
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        self.payload = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        match kind {
            DATA => {
                let padding = if flags & PADDED == 0 { 0 } else { MOST_PADDING };
                if flags & END_STREAM != 0 || self.payload >= LEAST_DATA + padding {
                    return;
                }
            }
            HEADERS | CONTINUATION => {
                self.open = (flags & END_HEADERS == 0).then_some(stream);
                if kind == HEADERS && stream > self.newest {
                    self.newest = stream;
                    self.now.requests += 1;
                    return;
                }
            }
            RST_STREAM => self.now.resets += 1,
            _ => {}
        }
        self.now.idle += 1;
        if self.now.idle > FREE {
            self.judge();
        }
    }

    /// Looks whether there are too many by now. What came in a longer time than the window's has not
    /// been too many, and a new one begins; until more than is free has come, the clock is not asked.
    fn judge(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.since) > WINDOW {
            self.since = now;
            self.before = std::mem::take(&mut self.now);
            return;
        }
        let requests = self.now.requests + self.before.requests;
        let sent = self.now.sent.saturating_add(self.before.sent);
        let idle = FREE + requests * PER_REQUEST + sent / SENT_PER_FRAME;
        let resets = FREE + requests / REQUESTS_PER_RESET;
        if self.now.idle > idle || self.now.resets > resets {
            if !self.too_many {
                tracing::debug!("a connection is ended: it sends frames that mean nothing");
            }
            self.too_many = true;
        }
    }

    /// A block of fields in more pieces than hyper takes, to which it answers as is due here.
    fn last_words(&self) -> Vec<u8> {
        let stream = self.open.unwrap_or(self.newest | 1);
        let frame = |kind| {
            let [a, b, c, d] = stream.to_be_bytes();
            [0, 0, 0, kind, 0, a, b, c, d]
        };
        let first = self.open.is_none().then(|| frame(HEADERS));
        let rest = std::iter::repeat_n(frame(CONTINUATION), TOO_MANY_PIECES);
        first.into_iter().chain(rest).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [head, vec![0; payload]].concat()
    }

    /// After how many of a frame the connection is cut; `None` if it goes on past a thousand.
    fn cut_after(frames: &mut Frames, frame: &[u8]) -> Option<usize> {
        (1..=1000).find(|_| frames.look(frame).is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_mean_nothing_are_free_up_to_a_hundred() {
        for (kind, flags, payload) in [
            (0x0, 0, 0),
            (0x0, PADDED, 200),
            (0x2, 0, 5),
            (0x4, 0, 0),
            (0x6, 0, 8),
            (0x6, 1, 8),
            (0x8, 0, 4),
            (0x9, 0, 0),
            (0xBB, 0, 20),
        ] {
            let idle = frame(kind, flags, 0, payload);
            assert_eq!(cut_after(&mut Frames::new(), &idle), Some(101), "{kind}");
        }
        // What brings something is counted by others.
        for plain in [frame(0x0, 0, 1, 16), frame(0x0, END_STREAM, 1, 0)] {
            assert_eq!(cut_after(&mut Frames::new(), &plain), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_honest_client_may_send_what_its_requests_and_our_answers_ask_for() {
        let (update, ping) = (frame(0x8, 0, 0, 4), frame(0x6, 0, 0, 8));
        let mut frames = Frames::new();
        // A download of 16 MB in DATA frames of 1 KiB, both windows opened after each.
        for _ in 0..16_384 {
            frames.sent(9 + 1024);
            assert_eq!(frames.look(&[&*update, &update].concat()), None);
        }
        // A thousand requests at once, each with two windows, a priority and trailers.
        let mut frames = Frames::new();
        for stream in (1..2000).step_by(2) {
            let request = [
                frame(HEADERS, END_HEADERS, stream, 30),
                frame(0x2, 0, stream, 5),
                update.clone(),
                update.clone(),
                frame(HEADERS, END_HEADERS | END_STREAM, stream, 9),
            ];
            assert_eq!(frames.look(&request.concat()), None);
        }
        // Nine PINGs a second, for hours.
        let mut frames = Frames::new();
        for _ in 0..100_000 {
            tokio::time::advance(Duration::from_millis(111)).await;
            assert_eq!(frames.look(&ping), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_all_taken_back_are_rapid_reset_and_every_second_one_is_not() {
        let mut frames = Frames::new();
        let request = |frames: &mut Frames, stream: u32, reset: bool| {
            let mut both = frame(HEADERS, END_HEADERS, stream, 30);
            if reset {
                both.extend(frame(RST_STREAM, 0, stream, 4));
            }
            frames.look(&both).is_some()
        };
        let cut = (0..1000).position(|n| request(&mut frames, 2 * n + 1, true));
        assert_eq!(cut, Some(200));
        let mut frames = Frames::new();
        let cut = (0..1000).position(|n| request(&mut frames, 2 * n + 1, n % 2 == 0));
        assert_eq!(cut, None);
    }
}
