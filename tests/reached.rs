//! Every limit and every time in the configuration, each with the tests that reach it. A key that is new in
//! `config/reference.toml` is a gap in this table until there is a test for it.

use std::collections::BTreeSet;

use crate::apple_rules::known_tests;

/// A key, and the tests that reach what it sets.
type Row = (&'static str, &'static [&'static str]);

#[rustfmt::skip] // A table is read as a table.
const REACHED: &[Row] = &[
    ("server.max_connections", &["max_connections_is_reached_by_all_listeners_together"]),
    ("server.header_read_timeout", &["header_read_timeout_is_reached", "two_thousand_slow_senders_do_not_keep_others_out"]),
    ("server.keep_alive_timeout", &["keep_alive_timeout_is_reached", "an_idle_http_2_connection_is_asked_to_go"]),
    ("server.send_timeout", &["a_caller_who_reads_nothing_loses_connection_and_application", "an_http2_stream_without_a_window_is_reset_and_its_connection_lives_on"]),
    ("server.max_header_bytes", &["max_header_bytes_is_reached", "an_endless_head_in_continuation_frames_ends_the_connection"]),
    ("server.max_headers", &["max_headers_is_reached"]),
    ("server.drain_delay", &["during_the_drain_delay_it_is_not_ready_and_serves_on"]),
    ("server.drain_timeout", &["the_deadline_drops_a_request_that_is_stuck", "at_shutdown_a_websocket_may_go_on_until_the_deadline_and_then_hears_1001"]),
    ("server.max_body_bytes", &["a_body_over_the_limit_is_413_whether_announced_or_not"]),
    ("server.body_idle_timeout", &["a_body_that_stops_coming_is_408"]),
    ("server.h2_max_concurrent_streams", &["h2_max_concurrent_streams_is_told", "h2_max_concurrent_streams_is_reached_under_load_and_all_are_served", "h2_streams_beyond_the_limit_are_refused_and_the_others_live_on"]),
    ("server.h2_max_pending_resets", &["h2_max_pending_resets_is_reached"]),
    ("server.h2_max_local_resets", &["h2_max_local_resets_is_reached"]),
    ("server.h2_ping_interval", &["h2_ping_timeout_is_reached_by_a_peer_that_does_not_answer"]),
    ("server.h2_ping_timeout", &["h2_ping_timeout_is_reached_by_a_peer_that_does_not_answer"]),
    ("tls.handshake_timeout", &["a_handshake_that_is_not_over_in_time_is"]),
    ("tls.reload_every", &["a_certificate_is_renewed_under_load_without_a_failed_request"]),
    ("limits.max_requests", &["max_requests_is_reached_and_the_next_one_is_shed"]),
    ("limits.rate_per_second", &["rate_per_second_is_reached_by_one_address_alone"]),
    ("limits.rate_burst", &["rate_per_second_is_reached_by_one_address_alone", "after_the_burst_a_request_must_wait_for_its_turn"]),
    ("ext_authz.timeout", &["a_decision_that_takes_too_long_is_a_no_in_time", "a_gateway_that_waits_less_is_answered_sooner"]),
    ("upstream.connect_timeout", &["a_connection_that_is_not_made_in_time_is_504", "a_handshake_that_does_not_end_is_504"]),
    ("upstream.response_timeout", &["an_application_that_does_not_answer_is_504"]),
    ("upstream.idle_timeout", &["an_answer_that_falls_silent_breaks_off"]),
    ("upstream.total_timeout", &["an_exchange_that_takes_too_long_is_504_or_breaks_off"]),
    ("upstream.pool_idle_timeout", &["a_connection_that_nobody_uses_is_given_up_in_time"]),
    ("upstream.h2_ping_interval", &["an_application_that_speaks_http2_is_asked_whether_it_is_still_there"]),
    ("route.response_timeout", &["a_route_has_its_own_patience_with_the_application"]),
    ("route.idle_timeout", &["a_route_has_its_own_patience_with_the_application"]),
    ("apple.leeway", &["expiry_is_judged_with_leeway_to_the_second"]),
    ("apple.max_token_age", &["a_token_grows_too_old_also_when_its_verdict_is_remembered"]),
    ("apple.api_timeout", &["each_way_in_which_apple_does_not_grant_it_has_a_status_and_a_reason"]),
    ("jwks.refresh_every", &["a_withdrawn_key_stops_working_at_the_next_refresh"]),
    ("jwks.keep_while_failing", &["the_last_good_set_is_kept_while_fetching_fails_and_withdrawn_after"]),
    ("jwks.unknown_key_cooldown", &["a_flood_of_made_up_keys_during_a_rotation_starves_nobody", "a_thousand_unknown_keys_cost_one_fetch_in_a_cooldown"]),
    ("jwks.removed_key_grace", &["a_withdrawn_key_goes_on_working_within_its_grace"]),
    ("store.redis_timeout", &["a_redis_that_does_not_answer_is_given_up_in_time"]),
    ("sessions.access_lifetime", &["an_access_token_lives_for_minutes_and_leeway_and_a_refresh_token_for_days"]),
    ("sessions.refresh_reuse_grace", &["a_refresh_token_is_good_once_and_a_lost_answer_is_forgiven_for_a_while"]),
    ("sessions.replicas", &["several_replicas_need_a_store_that_they_share"]),
    ("sign_in.max_token_age", &["a_token_that_apple_issued_long_ago_signs_nobody_in_and_goes_on_being_a_credential"]),
    ("sign_in.rate_per_second", &["a_client_that_signs_in_too_often_is_429_and_others_are_not"]),
    ("sign_in.rate_burst", &["a_client_that_signs_in_too_often_is_429_and_others_are_not"]),
    ("browser.sign_in_timeout", &["a_sign_in_ends_in_time"]),
    ("notifications.rate_per_second", &["a_sender_who_posts_too_often_is_429_and_its_tokens_cost_nothing"]),
    ("notifications.rate_burst", &["a_sender_who_posts_too_often_is_429_and_its_tokens_cost_nothing", "each_ipv4_address_and_each_ipv6_64_has_its_own_bucket"]),
    ("revocations.keep", &["an_entry_outlives_every_token_that_it_refuses_and_no_longer", "a_token_older_than_revocations_are_remembered_is_refused"]),
    ("revocations.max_staleness", &["a_list_that_was_not_read_or_is_too_old_judges_nobody_good", "a_list_that_may_not_grow_old_fails_closed_and_recovers"]),
    ("webhooks.keep", &["an_event_is_given_up_when_its_time_is_over"]),
    ("webhooks.timeout", &["a_receiver_that_does_not_answer_is_tried_again"]),
    ("reload.watch_every", &["a_config_map_that_is_swapped_is_noticed_and_sighup_is_heard_by_the_program", "a_symlink_that_is_swapped_as_kubernetes_does_is_a_change"]),
    ("verdicts.capacity", &["without_room_for_verdicts_every_request_is_judged_anew_and_none_is_counted_as_remembered"]),
];

#[test]
fn every_limit_and_time_of_the_configuration_is_reached_by_a_test_that_exists() {
    let known = known_tests().unwrap();
    let mut missing = keys();
    let mut wrong = Vec::new();
    for (key, tests) in REACHED {
        if !missing.remove(*key) {
            wrong.push(format!("{key}: there is no such limit, or it is here twice"));
        }
        if tests.is_empty() {
            wrong.push(format!("{key}: is reached by nothing"));
        }
        let unknown = tests.iter().filter(|test| !known.contains(**test));
        wrong.extend(unknown.map(|test| format!("{key}: there is no test `{test}`")));
    }
    wrong.extend(missing.iter().map(|key| format!("{key}: is missing here")));
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Of the keys in the reference, commented ones included, those whose value is a time, a size or a number.
fn keys() -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in include_str!("../config/reference.toml").lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            // [upstreams.NAME] has the keys of [upstream], and there may be many a [[route]].
            let name = name.trim_matches(['[', ']']).replace("upstreams.reports", "upstream");
            section = name;
        } else if let Some((key, value)) = line.split_once(" = ")
            && is_limit(value)
        {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

fn is_limit(value: &str) -> bool {
    const UNITS: [&str; 8] = ["", "ms", "s", "m", "h", "B", "KiB", "MiB"];
    let value = value.trim_matches('"');
    let unit = value.trim_start_matches(|digit: char| digit.is_ascii_digit());
    unit.len() < value.len() && UNITS.contains(&unit)
}

#[test]
fn a_limit_is_a_number_with_a_unit_or_without() {
    for limit in ["10", "\"10s\"", "\"50ms\"", "\"64KiB\"", "0"] {
        assert!(is_limit(limit), "{limit}");
    }
    for other in ["\"127.0.0.1:80\"", "[]", "true", "\"s\"", "\"\"", "\"10x\"", "[\"1\"]"] {
        assert!(!is_limit(other), "{other}");
    }
}
