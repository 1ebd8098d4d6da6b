//! The kit on a real server.

use super::*;

#[tokio::test]
async fn a_server_as_deployed_takes_tls_alone_and_keeps_its_users_apart() {
    let redis = Redis::start_as_deployed().await;
    assert_eq!(redis.run(&["ACL", "WHOAMI"]).await, "admin");
    assert!(redis.try_run_as_service(&["PING"]).await.is_err());
    let plain = redis.url().replace("rediss://", "redis://");
    let client = Client::open(plain).unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_err());
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_crash_and_nothing_else_is() {
    let redis = Redis::start().await;
    redis.run(&["SET", "kept", "1"]).await;
    redis.run(&["SAVE"]).await;
    redis.run(&["SET", "lost", "1"]).await;
    redis.pause();
    redis.restart().await;
    assert_eq!(redis.keys().await, ["kept"]);
    assert!(redis.memory_usage("kept").await > 10);
    redis.flush().await;
    assert_eq!(redis.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_monitor_sees_what_comes_through_a_slow_proxy() {
    let redis = Redis::start().await;
    let (monitor, proxy) = (redis.monitor().await, redis.proxy().await);
    proxy.delay(std::time::Duration::from_millis(20));
    let client = Client::open(redis.url_at(proxy.address())).unwrap();
    let began = tokio::time::Instant::now();
    let answered = answer(client.clone(), &["SET", "through", "it"]).await;
    assert_eq!(answered.unwrap(), "OK");
    assert!(began.elapsed().as_millis() >= 20);
    until("the command", async || {
        let seen = String::from_utf8_lossy(&monitor.seen()).into_owned();
        Ok(seen.contains("through").then_some(()))
    })
    .await
    .unwrap();
    proxy.cut();
    proxy.part();
    let answer = answer(client, &["GET", "through"]);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(100), answer).await;
    assert!(waited.is_err());
}
