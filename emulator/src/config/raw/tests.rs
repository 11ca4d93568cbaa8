use super::*;

#[test]
fn an_empty_file_is_the_developers_default() {
    let config = read("empty.toml", "").unwrap();
    assert_eq!(config.listen.mqtt, 8883);
    assert_eq!(config.hubs[0].host.as_str(), "localhost");
}

#[test]
fn the_documented_file_says_the_defaults() {
    let documented = read(
        "linarite.toml",
        include_str!("../../../../docs/linarite.toml"),
    )
    .unwrap();
    let mut default = read("empty.toml", "").unwrap();
    // Naming the HTTPS port is what gives its fallback up.
    default.listen.https_fallback = None;
    assert_eq!(format!("{documented:?}"), format!("{default:?}"));
}

#[test]
fn the_mirror_has_a_port_or_is_off() {
    let table = [
        ("", Some(1883)),
        ("[listen]\nmirror = 0\n", Some(0)),
        ("[listen]\nmirror = 2883\n", Some(2883)),
        ("[listen]\nmirror = false\n", None),
    ];
    for (text, expected) in table {
        let config = read("linarite.toml", text).unwrap();
        assert_eq!(config.listen.mirror, expected, "{text}");
    }
}

/// R-H1, R-H2.
#[test]
fn limits_are_azures_or_ones_own() {
    let throttles = |dps: &str| {
        let text = format!("[dps]\n{dps}\n");
        read("linarite.toml", &text).unwrap().dps.throttles
    };
    let azure = DpsThrottles::azure();
    assert_eq!(throttles(""), DpsThrottles::default());
    assert_eq!(throttles("throttles = \"azure\""), azure);
    let count = |count| NonZeroU32::new(count).unwrap();
    let old = throttles("throttles = \"azure\"\nregistrations_per_minute = 200");
    let registrations = Some(RateLimit::per_minute(count(200)));
    assert_eq!(
        old,
        DpsThrottles {
            registrations,
            ..azure
        }
    );
    let alone = throttles("polls_per_ten_seconds = 7");
    let polls = Some(RateLimit::per_ten_seconds(count(7)));
    assert_eq!(
        alone,
        DpsThrottles {
            polls,
            ..DpsThrottles::default()
        }
    );
    let none = throttles("throttles = \"azure\"\nservice_operations_per_minute = 0");
    assert_eq!(
        none,
        DpsThrottles {
            service_operations: None,
            ..azure
        }
    );
}

/// R-B11, R-B12, R-B13.
#[test]
fn hubs_are_linked_as_the_file_says() {
    let text = "[dps]\nallocation_policy = \"geo_latency\"\n\
                [[hubs]]\nhost = \"a.test\"\nweight = 1000\nlatency_ms = 20\n\
                [[hubs]]\nhost = \"b.test\"\napply_allocation_policy = false\n";
    let config = read("linarite.toml", text).unwrap();
    let policy = config.dps.allocation_policy;
    assert_eq!(policy, InstanceAllocationPolicy::GeoLatency);
    let hubs = config.hubs.iter().map(|hub| {
        let applies = hub.apply_allocation_policy;
        (hub.host.as_str(), hub.weight.get(), hub.latency_ms, applies)
    });
    let expected = [("a.test", 1000, Some(20), true), ("b.test", 1, None, false)];
    assert_eq!(hubs.collect::<Vec<_>>(), expected);
}

#[test]
fn problems_name_file_line_and_field() {
    let table = [
        ("[listen]\nmqtt = 70000\n", 2, "mqtt: invalid value"),
        ("[listen]\naddress = \"here\"\n", 2, "listen.address"),
        ("[listen]\nmirror = true\n", 2, "listen.mirror: expected"),
        ("[listen]\nmirror = 65536\n", 2, "listen.mirror: expected"),
        ("[listen]\nmirror = \"on\"\n", 2, "listen.mirror: expected"),
        ("\n[dsp]\n", 2, "dsp"),
        ("hubs = []\n", 1, "hubs: expected at least one"),
        (
            "[[hubs]]\nhost = \"a.test\"\nweight = 0\n",
            3,
            "hubs.weight",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\n[[hubs]]\nhost = \"A.test\"\n",
            4,
            "twice",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\nweight = 70000\n",
            3,
            "hubs.weight: expected 1 to 1000, not 70000",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\nlatency_ms = -1\n",
            3,
            "hubs.latency_ms: expected 0 to",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\nlatency_ms = \"near\"\n",
            3,
            "latency_ms: invalid type",
        ),
        (
            "[dps]\n\nallocation_policy = \"custom\"\n",
            3,
            "dps.allocation_policy: expected hashed",
        ),
        (
            "[dps]\nthrottles = \"some\"\n",
            2,
            "dps.throttles: expected azure or none",
        ),
        (
            "[dps]\npolls_per_ten_seconds = -1\n",
            2,
            "dps.polls_per_ten_seconds: expected 0 to",
        ),
        (
            "[webhook]\ntimeout_seconds = 0\n",
            2,
            "webhook.timeout_seconds: expected 1 to",
        ),
        (
            "[webhook]\nca_file = \"no-such-folder/ca.pem\"\n",
            2,
            "webhook.ca_file: no-such-folder/ca.pem is not readable",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\ntier = \"B1\"\n",
            3,
            "hubs.tier: \"B1\" is no edition with jobs",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\ntier = \"S1\"\nunits = 0\n",
            4,
            "hubs.units: expected 1 to 200",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\ntier = \"F1\"\nunits = 2\n",
            4,
            "hubs.units: F1 has one unit",
        ),
        (
            "[settings]\nhub_thumbprints = \"both\"\n",
            2,
            "presented_both",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\npartition_count = 33\n",
            3,
            "hubs.partition_count: expected 1 to 32",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\nretention_days = 0\n",
            3,
            "hubs.retention_days: expected 1 to 7",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\nevents_mib = 3\n",
            3,
            "hubs.events_mib: expected 4 to 1048576",
        ),
        (
            "[[hubs]]\nhost = \"a.test\"\nroutes = [\n\"Telemetry\"]\n",
            4,
            "hubs.routes: expected deviceLifecycleEvents, twinChangeEvents or",
        ),
        (
            "[settings]\nretry_after_jitter_seconds = 601\n",
            2,
            "settings.retry_after_jitter_seconds: 601 is over 600 (R-H1)",
        ),
        (
            "[settings]\nforced_close_delay_seconds = 301\n",
            2,
            "settings.forced_close_delay_seconds: 301 is over 300",
        ),
    ];
    for (text, line, expected) in table {
        let error = read("linarite.toml", text).unwrap_err();
        assert_eq!(
            (error.file.as_str(), error.line),
            ("linarite.toml", line),
            "{error}"
        );
        assert!(error.problem.contains(expected), "{error}");
    }
}
