//! The three real series, against the figures that their notes give.

use ems_api::{
    client::{Client, Span, UsageQuery},
    domain::Role,
};

use crate::cli::{Home, binary, text};

/// A series, and what its notes say of it.
struct Series {
    meter: &'static str,
    file: &'static str,
    distinct: u64,
    repeats: u64,
    kwh: f64,
    /// The first day and the one behind the last.
    span: [&'static str; 2],
}

const SERIES: [Series; 3] = [
    Series {
        meter: "uk-home-1",
        file: "uk-home-1",
        distinct: 22_521,
        repeats: 15,
        kwh: 5_554.874_000_2,
        span: ["2012-10-12T00:00:00Z", "2014-01-26T00:00:00Z"],
    },
    Series {
        meter: "uk-home-2",
        file: "uk-home-2",
        distinct: 35_444,
        repeats: 24,
        kwh: 14_080.862_002_6,
        span: ["2012-01-03T00:00:00Z", "2014-12-03T00:00:00Z"],
    },
    Series {
        meter: "sceaux-house",
        file: "sceaux-one-minute",
        distinct: 40_318,
        repeats: 0,
        kwh: 941.481_503,
        span: ["2007-01-31T23:00:00Z", "2007-02-28T23:00:00Z"],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn the_series_import_once_and_add_up_to_their_known_totals() {
    let home = Home::new();
    let server = home.serve();
    let admin = server.admin().await.unwrap();
    let key = text(&home.key_file(&admin, Role::MeterReader).await);
    for round in 0..2 {
        for Series {
            meter,
            file,
            distinct,
            repeats,
            ..
        } in SERIES
        {
            let file = format!("{}/../../samples/{file}.csv.gz", env!("CARGO_MANIFEST_DIR"));
            let rejected = text(&home.path("rejected.csv"));
            let ca = text(&home.dir().join("tls/ca.pem"));
            let ran = binary().run([
                "import",
                "--json",
                &file,
                "--rejected",
                &rejected,
                "--url",
                server.url(),
                "--ca",
                &ca,
                "--key-file",
                &key,
            ]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            let expected = if round == 0 {
                [distinct, repeats]
            } else {
                [0, distinct + repeats]
            };
            let json = ran.json();
            let counts = ["accepted", "unchanged"].map(|name| json[name].as_u64().unwrap());
            assert_eq!((meter, counts), (meter, expected));
            assert_eq!(
                (&json["corrected"], &json["rejected"]),
                (&0.into(), &0.into())
            );
        }
    }
    for Series {
        meter,
        distinct,
        kwh,
        span,
        ..
    } in SERIES
    {
        for interval in ["1d", "1mo"] {
            let (sum, count, _) = usage(&admin, meter, span, interval).await;
            assert!((sum - kwh).abs() < 1e-6, "{meter} by {interval}: {sum}");
            assert_eq!(count, distinct);
        }
    }
    summer_time(&admin).await;
}

/// The days on which London's clocks change have 23 and 25 hours.
async fn summer_time(admin: &Client) {
    for (span, readings) in [
        (["2013-03-31T00:00:00Z", "2013-04-01T00:00:00+01:00"], 46),
        (["2013-10-27T00:00:00+01:00", "2013-10-28T00:00:00Z"], 50),
    ] {
        let (_, count, buckets) = usage(admin, "uk-home-1", span, "1d").await;
        assert_eq!((count, buckets), (readings, 1), "{span:?}");
    }
}

/// The sum in kWh, the readings and the buckets.
async fn usage(
    client: &Client,
    meter: &str,
    [start, end]: [&str; 2],
    interval: &str,
) -> (f64, u64, usize) {
    let query = UsageQuery {
        meters: &[meter],
        span: Span { start, end },
        interval,
        timezone: "Europe/London",
    };
    let usage = client.usage(query).await.unwrap();
    let sum = usage
        .buckets
        .iter()
        .filter_map(|bucket| bucket.energy_kwh)
        .sum();
    let count = usage.buckets.iter().map(|bucket| bucket.count).sum();
    (sum, count, usage.buckets.len())
}
