//! What is asked of the script, and what it answers. A key goes out as a keyed hash: whoever reads
//! Redis, its files or what it is sent learns no name and no address.

use data_encoding::HEXLOWER;
use ems_crypto::hash::IndexKey;
use redis::{Cmd, Value};

use super::super::{Answer, Key, Step, Verdict};

/// The script keeps times and sums modulo twice this: lengths and limits beyond it are cut to it
/// (four years; 140 million million).
pub(super) const MOST: u64 = 1 << 47;

/// Names keys for Redis. All those of an instance begin alike, and lie in one slot of a cluster.
#[derive(Clone)]
pub(super) struct Names {
    key: IndexKey,
    prefix: String,
}

impl Names {
    pub(super) fn new(key: IndexKey) -> Self {
        let tag = key.token("redis instance", b"");
        let tag = HEXLOWER.encode(tag.get(..8).unwrap_or_default());
        let prefix = format!("ems:{{{tag}}}:");
        Self { key, prefix }
    }

    /// The key that is there for as long as the data is.
    pub(super) fn run(&self) -> String {
        format!("{}run", self.prefix)
    }

    fn window(&self, key: &Key) -> String {
        self.named('w', key)
    }

    fn mark(&self, key: &Key) -> String {
        self.named('m', key)
    }

    fn named(&self, kind: char, key: &Key) -> String {
        let domain = if kind == 'w' { "window" } else { "mark" };
        let token = self.key.token(domain, key.name.as_bytes());
        format!("{}{kind}:{}", self.prefix, HEXLOWER.encode(&token))
    }
}

/// The keys and arguments of one call of the script.
pub(super) struct Ask {
    keys: Vec<String>,
    arguments: Vec<i64>,
}

impl Ask {
    /// Puts steps into the form of the script. Windows without a bound are not asked.
    pub(super) fn new(names: &Names, steps: &[Step]) -> Self {
        let mut ask = Self {
            keys: vec![names.run()],
            arguments: Vec::new(),
        };
        for step in steps.iter().filter(|step| !is_free(step)) {
            ask.add(names, step);
        }
        ask
    }

    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.arguments.is_empty()
    }

    fn add(&mut self, names: &Names, step: &Step) {
        match step {
            Step::Take { window, cost, once } => {
                self.arguments.extend([
                    i64::from(once.is_some()),
                    bounded(window.limit.min(MOST)),
                    length(window.length_micros).max(1),
                    bounded(*cost),
                ]);
                self.keys.push(names.window(&window.key));
                self.keys.extend(once.as_ref().map(|key| names.mark(key)));
            }
            Step::Look { key, stop } => {
                self.arguments.push(if *stop { 3 } else { 2 });
                self.keys.push(names.mark(key));
            }
            Step::Mark { key, for_micros } => {
                self.arguments.extend([4, length(*for_micros)]);
                self.keys.push(names.mark(key));
            }
            Step::Clear { key } => {
                self.arguments.push(5);
                self.keys.push(names.window(key));
                self.keys.push(names.mark(key));
            }
        }
    }

    /// The command, by the script's digest or by its text.
    pub(super) fn command(&self, command: &str, script: &str, new_run: &str) -> Cmd {
        let mut call = redis::cmd(command);
        call.arg(script).arg(self.keys.len()).arg(&self.keys);
        call.arg(new_run).arg(&self.arguments);
        call
    }
}

/// Whether a step is answered without asking.
fn is_free(step: &Step) -> bool {
    matches!(step, Step::Take { window, .. } if window.limit == 0)
}

/// A limit or a cost; a cost beyond every limit stays beyond.
fn bounded(value: u64) -> i64 {
    i64::try_from(value.min(MOST + 1)).unwrap_or(i64::MAX)
}

fn length(micros: i64) -> i64 {
    micros.clamp(0, i64::try_from(MOST).unwrap_or(i64::MAX))
}

/// What the script answered.
pub(super) struct Reply {
    /// The run of the data that it was asked of.
    pub(super) run: String,
    numbers: Vec<i64>,
}

impl Reply {
    /// Reads it; `None` where it is not of the script's form.
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::Array(values) = value else {
            return None;
        };
        let mut values = values.into_iter();
        let Value::BulkString(run) = values.next()? else {
            return None;
        };
        let number = |value| match value {
            Value::Int(number) => Some(number),
            _ => None,
        };
        Some(Self {
            run: String::from_utf8(run).ok()?,
            numbers: values.map(number).collect::<Option<_>>()?,
        })
    }

    /// The answers to the steps that were asked; `None` where there are not as many.
    pub(super) fn answers(&self, steps: &[Step]) -> Option<Vec<Answer>> {
        let mut rest = self.numbers.as_slice();
        let mut stopped = false;
        let mut answers = Vec::with_capacity(steps.len());
        for step in steps {
            let answer = if stopped {
                Answer::Skipped
            } else if is_free(step) {
                Answer::Taken(Verdict::unlimited())
            } else {
                let (answer, after) = one(step, rest)?;
                rest = after;
                answer
            };
            stopped |= matches!(
                (step, answer),
                (Step::Look { stop: true, .. }, Answer::Marked(Some(_)))
            );
            answers.push(answer);
        }
        rest.is_empty().then_some(answers)
    }
}

/// The answer to a step, and the numbers of those after it.
fn one<'a>(step: &Step, numbers: &'a [i64]) -> Option<(Answer, &'a [i64])> {
    match (step, numbers) {
        (Step::Take { .. }, [allowed, counted, first, remaining, retry, free, after @ ..]) => {
            let verdict = Verdict {
                allowed: *allowed == 1,
                counted: *counted == 1,
                first: *first == 1,
                remaining: u64::try_from(*remaining).ok()?,
                retry_after_micros: Some(*retry).filter(|retry| *retry >= 0),
                reset_after_micros: *free,
            };
            Some((Answer::Taken(verdict), after))
        }
        (Step::Look { .. }, [left, rest @ ..]) => {
            let left = Some(*left).filter(|left| *left > 0);
            Some((Answer::Marked(left), rest))
        }
        (Step::Mark { .. } | Step::Clear { .. }, [_, rest @ ..]) => Some((Answer::Done, rest)),
        _ => None,
    }
}
