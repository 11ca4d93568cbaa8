use linarite_core::hub::c2d::message::CloudMessage;
use linarite_core::hub::c2d::queue::{Queue, Terms};
use linarite_core::hub::message::Properties;
use proptest::prelude::*;

use super::*;

fn id(text: &str) -> IdentityId {
    IdentityId::parse(text).unwrap()
}

#[test]
fn dps_topics_are_read() {
    let table = [
        (
            "$dps/registrations/PUT/iotdps-register/?$rid=7",
            Some(DpsPublish::Register { rid: "7" }),
        ),
        (
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=a-b&operationId=4.x.y",
            Some(DpsPublish::OperationStatus {
                rid: "a-b",
                operation_id: "4.x.y",
            }),
        ),
        ("$dps/registrations/PUT/iotdps-register/", None),
        ("$dps/registrations/PUT/iotdps-register/?$rid=", None),
        (
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1",
            None,
        ),
        ("devices/d/messages/events/", None),
    ];
    for (topic, expected) in table {
        assert_eq!(DpsPublish::parse(topic), expected, "{topic}");
    }
}

/// R-G17.
#[test]
fn hub_topics_belong_to_one_device() {
    let telemetry = |bag| Some(HubPublish::Telemetry { bag });
    let table = [
        ("devices/d/messages/events", telemetry("")),
        ("devices/d/messages/events/", telemetry("")),
        ("devices/d/messages/events/a=1&b", telemetry("a=1&b")),
        ("devices/d/messages/events/$.mid=1/", telemetry("$.mid=1")),
        ("devices/e/messages/events/", None),
        ("devices/d2/messages/events/", None),
        ("devices/d/messages/devicebound/", None),
        (
            "$iothub/twin/GET/?$rid=1",
            Some(HubPublish::TwinGet { rid: "1" }),
        ),
        (
            "$iothub/twin/PATCH/properties/reported/?$rid=1",
            Some(HubPublish::TwinPatch { rid: "1" }),
        ),
        ("$iothub/twin/PATCH/properties/desired/?$rid=1", None),
        (
            "$iothub/methods/res/200/?$rid=2",
            Some(HubPublish::MethodResponse {
                status: 200,
                rid: "2",
            }),
        ),
        ("$iothub/methods/res/ok/?$rid=2", None),
        ("$dps/registrations/PUT/iotdps-register/?$rid=1", None),
        ("telemetry/d", None),
    ];
    for (topic, expected) in table {
        assert_eq!(HubPublish::parse(topic, &id("d")), expected, "{topic}");
    }
}

/// R-G17, wire 4.2.
#[test]
fn topics_of_modules_name_the_device_too() {
    let published = |topic, who| HubPublish::parse(topic, &id(who)).is_some();
    let table = [
        ("devices/d/modules/m/messages/events/a=b", "d/m", true),
        (
            "devices/d/modules/m/messages/events/%24.on=out1/",
            "d/m",
            true,
        ),
        ("devices/d/messages/events/", "d/m", false),
        ("devices/d/modules/m/messages/events/", "d", false),
        ("devices/d/modules/n/messages/events/", "d/m", false),
        ("devices/d/modules/mm/messages/events/", "d/m", false),
        ("devices/e/modules/m/messages/events/", "d/m", false),
        ("devices/d%241/messages/events/", "d$1", true),
        ("devices/d$1/messages/events/", "d$1", true),
        ("devices/d%241/messages/events/", "d%241", true),
        ("devices/d%2F1/messages/events/", "d", false),
    ];
    for (topic, who, expected) in table {
        assert_eq!(published(topic, who), expected, "{topic} of {who}");
    }
    let table = [
        (
            "devices/d/modules/m/inputs/#",
            "d/m",
            Some(HubFilter::Inputs),
        ),
        ("devices/d/modules/m/#", "d/m", Some(HubFilter::Inputs)),
        (
            "devices/d/modules/m/messages/devicebound/#",
            "d/m",
            Some(HubFilter::CloudToDevice),
        ),
        ("$iothub/methods/POST/#", "d/m", Some(HubFilter::Methods)),
        ("devices/d/messages/devicebound/#", "d/m", None),
        ("devices/d/#", "d/m", None),
        ("devices/d/#", "d", None),
        ("devices/d/inputs/#", "d", None),
    ];
    for (filter, who, expected) in table {
        assert_eq!(
            HubFilter::parse(filter, &id(who)),
            expected,
            "{filter} of {who}"
        );
    }
}

/// Wire 4.3.
#[test]
fn property_bags_are_decoded() {
    let table: [(&str, &[(&str, &str)]); 7] = [
        ("", &[]),
        ("?", &[]),
        ("&&", &[]),
        (
            "%24.mid=m%201&a=&b",
            &[("$.mid", "m 1"), ("a", ""), ("b", "")],
        ),
        ("a=b=c&%26=%3D", &[("a", "b=c"), ("&", "=")]),
        ("a=%zz&b=%C3%A4", &[("a", "%zz"), ("b", "ä")]),
        ("a+b=c+d", &[("a+b", "c+d")]),
    ];
    for (bag, expected) in table {
        let read = property_bag(bag).unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(read, expected, "{bag}");
    }
    for (bag, property) in [("a=1&b=%FF", "b"), ("%C3=1", "%C3")] {
        let property = property.to_owned();
        assert_eq!(property_bag(bag), Err(NotText { property }), "{bag}");
    }
}

/// R-G17, R-G30, wire 4.2, wire 4.3.
#[test]
fn a_message_for_a_device_carries_its_properties_in_its_topic() {
    let terms = Terms {
        ttl_ms: 60_000,
        delivery_count_max: 10,
    };
    let topic = |who, system: &[_], application: &[_], ack, encoded| {
        let properties = Properties::new(system.iter().copied(), application.iter().copied());
        let message = CloudMessage::new(properties, b"", ack, None).unwrap();
        let mut queue = Queue::default();
        queue.push(message, &terms, 0).unwrap();
        let (delivery, _) = queue.take().unwrap();
        device_bound(&id(who), &delivery, encoded)
    };
    assert_eq!(
        topic("d", &[], &[], Ack::None, false),
        "devices/d/messages/devicebound/"
    );
    let system = [
        ("message-id", "m-1"),
        ("to", "/devices/d/messages/devicebound"),
        ("absolute-expiry-time", "2026-01-01T00:00:00Z"),
        ("content-type", "text/plain; charset=UTF-8"),
    ];
    let application = [("prop 1", "a&b"), ("empty", "")];
    assert_eq!(
        topic("d", &system, &application, Ack::Full, false),
        "devices/d/messages/devicebound/%24.mid=m-1&\
         %24.to=%2Fdevices%2Fd%2Fmessages%2Fdevicebound&%24.exp=2026-01-01T00%3A00%3A00Z&\
         %24.ct=text%2Fplain%3B%20charset%3DUTF-8&iothub-ack=full&prop%201=a%26b&empty="
    );
    let table = [
        ("d$1", false, "devices/d$1/messages/devicebound/"),
        ("d$1", true, "devices/d%241/messages/devicebound/"),
        (
            "d$1/m",
            true,
            "devices/d%241/modules/m/messages/devicebound/",
        ),
    ];
    for (who, encoded, expected) in table {
        assert_eq!(topic(who, &[], &[], Ack::None, encoded), expected);
        let filter = format!("{expected}#");
        assert!(HubFilter::parse(&filter, &id(who)).is_some(), "{filter}");
        assert_eq!(spells_encoded(&filter, &id(who)), encoded, "{filter}");
    }
}

#[test]
fn filters_belong_to_one_device() {
    let table = [
        (
            "devices/d/messages/devicebound/#",
            Some(HubFilter::CloudToDevice),
        ),
        ("devices/e/messages/devicebound/#", None),
        ("$iothub/methods/POST/#", Some(HubFilter::Methods)),
        ("$iothub/twin/res/#", Some(HubFilter::TwinResponses)),
        (
            "$iothub/twin/PATCH/properties/desired/#",
            Some(HubFilter::DesiredChanges),
        ),
        ("#", None),
        ("$iothub/#", None),
        ("devices/+/messages/devicebound/#", None),
    ];
    for (filter, expected) in table {
        assert_eq!(HubFilter::parse(filter, &id("d")), expected, "{filter}");
    }
}

/// R-B10, R-G12.
#[test]
fn user_names_tell_dps_from_hub() {
    let hub = |module_id| {
        Some(UserName::Hub {
            hub: "h",
            device_id: "d",
            module_id,
        })
    };
    let dps = Some(UserName::Dps {
        id_scope: "0ne1",
        registration_id: "d",
        api_version: Some("2019-03-31"),
    });
    let table = [
        (
            "0ne1/registrations/d/api-version=2019-03-31&ClientVersion=x",
            dps.clone(),
        ),
        (
            "0ne1/registrations/d/api-version=2019-03-31&ClientVersion=a/b",
            dps,
        ),
        (
            "h/d/?api-version=2021-04-12&DeviceClientType=py%2F2",
            hub(None),
        ),
        (
            "h/d/?api-version=2021-04-12&DeviceClientType=a/b",
            hub(None),
        ),
        ("h/d/api-version=2020-09-30", hub(None)),
        ("h/d/m/?api-version=2021-04-12", hub(Some("m"))),
        ("h/d", None),
        ("h//?api-version=2021-04-12", None),
        ("", None),
    ];
    for (name, expected) in table {
        assert_eq!(UserName::parse(name), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn no_topic_panics(topic in ".{0,80}") {
        let _ = DpsPublish::parse(&topic);
        let _ = HubPublish::parse(&topic, &id("d/m"));
        let _ = HubFilter::parse(&topic, &id("d/m"));
        let _ = UserName::parse(&topic);
    }

    #[test]
    fn a_property_bag_decodes_what_was_encoded(key in "[^\u{0}]{1,12}", value in "[^\u{0}]{0,12}") {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let bag = format!("{}={}", encode(&key), encode(&value));
        prop_assert_eq!(property_bag(&bag), Ok(vec![(key.into(), value.into())]));
    }
}
