//! What Apple's tokens ask of whoever verifies them.

use super::{Point, points};

pub(super) const ALL: &[Point] = points! {
    1 "The algorithm is RS256, whatever the header says: every key that Apple publishes is RSA, although its guide says E256."
        <"https://developer.apple.com/documentation/signinwithapplerestapi/fetch-apple's-public-key-for-verifying-token-signature">
        [
            "only_rs256_is_an_algorithm"
            "E256, as Apple's prose still says"
            "HS256 with the modulus as the secret"
            "alg none with a signature"
            "every_valid_signature_of_wycheproof_verifies_and_no_invalid_one"
        ];
    2 "The key is the one that the header's kid names: sets vary in size, and their order changes between two fetches."
        <"https://github.com/panva/wellknown">
        [
            "a_set_in_another_order_is_the_same_set"
            "apples_identity_tokens_verify_at_their_time"
            "a made-up key id"
            "a_second_key_of_the_same_name_is_skipped"
        ];
    3 "The issuer is a constant, not what discovery says: for a day in June 2025 that named an issuer that no token had."
        <"https://github.com/supabase/auth/pull/2055">
        [
            "the_issuer_is_one_exact_string"
            "the_issuer_that_discovery_named_for_a_day_is_never_believed"
            "the_canary_tells_of_the_issuer_flip_and_changes_nothing"
            "a_token_is_judged_with_the_issuer_to_whom_the_key_belongs"
        ];
    4 "The audience is one of the client ids that the operator lists, App IDs and Services IDs alike; without a list nothing starts."
        <"https://developer.apple.com/documentation/signinwithapplejs/authorizationi/id_token">
        [
            "every_audience_must_be_ours"
            "an_empty_list_of_client_ids_does_not_exist"
            "without_a_client_id_nothing_starts"
            "a_caller_cannot_choose_the_audience"
            "for our other app"
        ];
    5 "A token expires, whether it lives a day or, as until 2020, ten minutes; clocks may differ by seconds, also in iat."
        <"https://github.com/pocketbase/pocketbase/issues/6529">
        [
            "the_five_required_claims_are_required"
            "expiry_is_judged_with_leeway_to_the_second"
            "a_token_may_be_issued_a_little_in_the_future_but_not_more"
            "ten minutes to live, as until 2020"
            "a_cached_verdict_expires_with_its_token"
        ];
    6 "email_verified and is_private_email are booleans or their names in a string; no is_private_email means no."
        <"https://developer.apple.com/documentation/signinwithapplejs/authorizationi/id_token">
        [
            "booleans_come_as_booleans_and_as_strings"
            "an_address_is_private_and_verified_only_if_apple_says_so"
            "the_relay_address_of_2021_is_verified_and_private_although_apple_wrote_strings"
        ];
    7 "The subject alone is the identity: an address may be missing, a relay's, unverified or another one than last time."
        <"https://developer.apple.com/documentation/signinwithapplejs/authorizationi/id_token">
        [
            "one_person_keeps_the_subject_when_the_address_is_gone"
            "an_email_is_optional_and_unverified_unless_apple_says_so"
            "every_shape_of_token_that_apple_sends_is_accepted"
        ];
    8 "The nonce is compared in both conventions, as it is and hashed; a missing one is excused only where Apple supports none."
        <"https://developer.apple.com/documentation/signinwithapplerestapi/authenticating-users-with-sign-in-with-apple">
        [
            "a_nonce_is_right_verbatim_and_as_lower_case_hex_of_its_sha_256"
            "only_apples_word_that_nonces_are_not_supported_excuses_a_missing_one"
            "nonce_and_code_are_asked_of_the_identity_and_leave_the_verdict_as_it_is"
        ];
    9 "Keys are cached although Apple forbids it, fetched anew for an unknown kid at a bounded rate, kept through outages, and asked for with a user agent of our own."
        <"https://github.com/nhosoya/omniauth-apple/issues/70">
        [
            "two_hundred_requests_at_a_cold_start_make_one_fetch"
            "a_thousand_unknown_keys_cost_one_fetch_in_a_cooldown"
            "the_last_good_set_is_kept_while_fetching_fails_and_withdrawn_after"
            "a_restart_during_an_outage_serves_from_disk"
            "apple_is_asked_with_our_own_user_agent"
        ];
    10 "A bad token is 401; keys that cannot be had are 503."
        <"https://github.com/zoonk/zoonk/pull/1798">
        [
            "a_rejected_token_is_401_with_the_reason_and_never_the_token"
            "keys_that_cannot_be_had_are_503_for_callers_and_not_ready_until_they_can"
            "could_not_judge_is_503_with_retry_after_and_no_challenge"
        ];
    11 "What the request says about the user beside the token is signed by nobody and identifies nobody."
        <"https://github.com/aspnet-contrib/AspNet.Security.OAuth.Providers/security/advisories/GHSA-3893-h8qg-6h5f">
        [
            "what_a_body_or_a_query_says_about_a_person_identifies_nobody"
            "a_spoofed_email_does_not_survive_a_token_without_one"
        ];
    12 "c_hash ties the token to the code that came with it: the left half of the code's SHA-256, checked offline."
        <"https://openid.net/specs/openid-connect-core-1_0.html#HybridIDToken">
        [
            "a_code_belongs_to_the_token_that_has_its_hash"
            "a_token_without_c_hash_came_beside_no_code"
            "they_carry_the_hash_of_a_code_and_say_that_nonces_are_supported"
        ];
    13 "A notification from Apple's server has its events as JSON in a string, its times in milliseconds, and two names for a deletion."
        <"https://developer.apple.com/documentation/signinwithapple/processing-changes-for-sign-in-with-apple-accounts">
        [
            "a_notification_is_never_an_identity"
            "the_genuine_notification_is_signed_rightly_and_still_proves_nobody"
            "an_event_is_json_in_a_string_with_milliseconds"
        ]
        "notifications are not received yet: for now it counts that none passes for an identity token";
};
