//! Every rejected row is found, whatever the server shows of a batch.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use ems_api::client::InProcess;
use futures_util::future::BoxFuture;

use super::*;
use crate::cmd::import::rows::Rows;

/// A server that refuses rows beginning with `b`, `faults` times each, names at most 100 broken
/// rules, counts a row that begins with `2` as two, and takes at most `largest` rows.
struct Server {
    faults: u64,
    largest: usize,
    calls: AtomicUsize,
    stored: Mutex<Vec<String>>,
}

impl Server {
    fn answer(&self, path: &str, body: &[u8]) -> (u16, String) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8(zstd::decode_all(body).unwrap()).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        if rows.len() > self.largest {
            let problem = ems_api::Problem {
                kind: String::new(),
                title: String::new(),
                status: 413,
                detail: "too large".into(),
                code: ems_api::ErrorCode::PayloadTooLarge,
                request_id: String::new(),
                error: String::new(),
                errors: Vec::new(),
                errors_truncated: false,
            };
            return (413, serde_json::to_string(&problem).unwrap());
        }
        let mut answer = BatchStored::default();
        for (index, row) in rows.iter().enumerate() {
            answer.rejected += u64::from(row.starts_with('b'));
            answer.accepted += u64::from(!row.starts_with('b')) + u64::from(row.starts_with('2'));
            for fault in 0..if row.starts_with('b') { self.faults } else { 0 } {
                if answer.errors.len() == 100 {
                    answer.errors_truncated = true;
                    break;
                }
                answer.errors.push(InputError {
                    pointer: "/timestamp".into(),
                    code: "out_of_range".into(),
                    detail: format!("{row} {fault}"),
                    index: Some(u64::try_from(index).unwrap()),
                });
            }
        }
        if path.ends_with("batch") {
            let good = rows.iter().filter(|row| !row.starts_with('b'));
            self.stored
                .lock()
                .unwrap()
                .extend(good.map(|row| (*row).to_owned()));
        }
        (200, serde_json::to_string(&answer).unwrap())
    }
}

impl InProcess for Server {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<Bytes>> {
        let (status, body) = self.answer(request.uri().path(), request.body());
        let kind = if status == 200 {
            "application/json"
        } else {
            "application/problem+json"
        };
        let response = http::Response::builder()
            .status(status)
            .header("content-type", kind);
        let response = response.body(body.into()).unwrap();
        Box::pin(async move { response })
    }
}

async fn send(rows: &[String], faults: u64, largest: usize) -> (Sent, Arc<Server>) {
    let server = Arc::new(Server {
        faults,
        largest,
        calls: AtomicUsize::new(0),
        stored: Mutex::default(),
    });
    let text = format!("h\n{}\n", rows.join("\n")).leak();
    let mut rows = Rows::new(Box::new(text.as_bytes()), None).unwrap();
    let batch = Batch::read(&mut rows).unwrap().unwrap();
    let shared: Arc<dyn InProcess> = server.clone();
    let client = Client::in_process(shared).unwrap();
    (super::batch(&client, &batch).await.unwrap(), server)
}

#[tokio::test]
async fn every_refused_row_is_named_once_however_many_there_are() {
    // Every third row of 3,000 is bad and breaks three rules: 1,000 rows, 3,000 rules.
    let name = |index: usize| format!("{}{index}", if index.is_multiple_of(3) { 'b' } else { 'g' });
    let rows: Vec<String> = (0..3000).map(name).collect();
    let (sent, server) = send(&rows, 3, 10_000).await;
    assert_eq!((sent.stored.accepted, sent.stored.rejected), (2000, 1000));
    let lines: Vec<u64> = sent.rejected.iter().map(|rejected| rejected.line).collect();
    assert_eq!(
        lines,
        (0..1000).map(|index| 2 + 3 * index).collect::<Vec<u64>>()
    );
    for (rejected, index) in sent.rejected.iter().zip((0..).step_by(3)) {
        assert_eq!(rejected.row, format!("b{index}").into_bytes());
        assert_eq!(
            rejected.reasons.matches("timestamp out_of_range: ").count(),
            3
        );
    }
    assert_eq!(
        server.stored.lock().unwrap().len(),
        2000,
        "asking stores nothing"
    );
}

#[tokio::test]
async fn a_row_that_breaks_more_rules_than_an_answer_holds_is_named_too() {
    let rows = ["g1", "b1", "b2", "g2"].map(str::to_owned);
    let (sent, _) = send(&rows, 150, 10_000).await;
    let lines: Vec<u64> = sent.rejected.iter().map(|rejected| rejected.line).collect();
    assert_eq!(lines, [3, 4]);
    assert!(sent.rejected[0].reasons.ends_with("; and more"));
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_in_parts() {
    let rows: Vec<String> = (0..100).map(|index| format!("g{index:03}")).collect();
    let (sent, server) = send(&rows, 1, 30).await;
    assert_eq!(sent.stored.accepted, 100);
    assert_eq!(*server.stored.lock().unwrap(), rows);
}

#[tokio::test]
async fn rows_are_told_one_by_one_where_counts_do_not_agree() {
    let rows = ["g", "2x", "b1", "g", "b2"].map(str::to_owned);
    let (sent, _) = send(&rows, 1, 10_000).await;
    let lines: Vec<u64> = sent.rejected.iter().map(|rejected| rejected.line).collect();
    assert_eq!(lines, [4, 6]);
}
