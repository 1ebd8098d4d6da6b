//! Requests under a rate window, in process and in a real Redis on this machine: what a limit that
//! several processes share costs a request.

use anyhow::Result;
use ems_testkit::Redis;

use crate::{
    client::get,
    instance::{Instance, Settings},
    load::{load, print, repeated},
    loads::Wanted,
};

const CONNECTIONS: usize = 64;
/// So many that none is refused.
const LIMIT: &str = "100000000";

/// Loads one gateway with its windows in process, then with them in Redis.
pub async fn run(wanted: &Wanted) -> Result<()> {
    let redis = Redis::start().await;
    let limit = ("EMS_LIMITS__USER_PER_HOUR", LIMIT.to_owned());
    let local = under(wanted, "limited_local", vec![limit.clone()]).await?;
    let url = ("EMS_SHARED__REDIS_URL", redis.url());
    let shared = under(wanted, "limited", vec![limit, url]).await?;
    print("limited_ratio", shared / local, "of_local");
    Ok(())
}

/// The rate of the cheapest request that has a window.
async fn under(wanted: &Wanted, name: &str, settings: Settings) -> Result<f64> {
    let instance = Instance::start_with(settings).await?;
    let source = repeated(get("/api/v1/auth/me", &instance.token().await?));
    let one = load(&instance.target, 1, wanted.until(), &source).await?;
    print(&format!("{name}_one_p50"), one.percentile(0.5), "ms");
    let done = load(&instance.target, CONNECTIONS, wanted.until(), &source).await?;
    print(name, done.rate(), "requests/s");
    print(&format!("{name}_p99"), done.percentile(0.99), "ms");
    Ok(done.rate())
}
