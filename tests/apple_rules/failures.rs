//! What has gone wrong in other people's servers.

use super::{Point, points};

pub(super) const ALL: &[Point] = points! {
    1 "The audience is not checked, so that a token for anybody's app signs in."
        <"https://github.com/parse-community/parse-server/pull/10114">
        [
            "every_audience_must_be_ours"
            "a_token_for_another_app_of_the_same_apple_is_refused"
            "another app"
            "our app and another"
            "without_a_client_id_it_does_not_start"
        ];
    2 "The caller says which audience is right."
        <"https://github.com/InsForge/InsForge/pull/1302">
        ["a_caller_cannot_choose_the_audience"];
    3 "The token is decoded, and its signature never verified."
        <"https://github.com/tuist/tuist/pull/11935">
        [
            "any_single_bit_changed_makes_a_token_worthless"
            "changing_any_one_character_makes_them_worthless"
            "another subject under a good signature"
            "every_valid_signature_of_wycheproof_verifies_and_no_invalid_one"
            "a_signature_without_the_null_of_its_algorithm_is_refused_though_it_would_be_acceptable"
        ];
    4 "The token's header says which algorithm verifies it."
        <"https://github.com/parse-community/parse-server/pull/6416">
        [
            "only_rs256_is_an_algorithm"
            "HS256 with the JWK as the secret"
            "PS256 over an RS256 signature"
            "no_header_makes_a_stranger_s_signature_good"
        ];
    5 "Expiry is ignored."
        <"https://github.com/hwi/HWIOAuthBundle/issues/2041">
        [
            "twenty_five_hours_later_they_have_expired"
            "two days old"
            "a_cached_verdict_expires_with_its_token"
        ];
    6 "The first key of the set is used."
        <"https://developer.apple.com/forums/thread/129047">
        [
            "a_set_in_another_order_is_the_same_set"
            "apples_past_refuses_no_valid_user_and_believes_no_key_that_is_gone"
        ];
    7 "Keys are kept for ever or named in a list; or each unknown key causes a fetch."
        <"https://github.com/lupidan/apple-signin-unity/issues/146">
        [
            "a_withdrawn_key_stops_working_at_the_next_refresh"
            "a_withdrawn_key_ends_its_verdicts_at_the_next_fetch"
            "a_new_key_is_found_at_once_by_the_first_caller_who_brings_it"
            "a_thousand_requests_with_unknown_keys_cost_one_fetch"
            "a_flood_of_made_up_keys_during_a_rotation_starves_nobody"
        ];
    8 "An outage of the key endpoint is told as a bad credential, or an unknown key as an outage."
        <"https://github.com/sesori-ai/sesori_auth_server/pull/24">
        [
            "trouble_at_the_start_is_not_the_callers_fault_and_passes_without_a_restart"
            "an_unknown_key_is_not_judged_while_the_set_cannot_be_confirmed"
            "a made-up key id"
        ];
    9 "Keys are fetched for each request, or with a user agent that Apple's edge refuses."
        <"https://github.com/nhosoya/omniauth-apple/pull/47">
        [
            "two_hundred_requests_at_a_cold_start_make_one_fetch"
            "apple_is_asked_with_our_own_user_agent"
            "whatever_apple_answers_instead_of_keys_is_no_key_set"
        ];
    10 "The issuer comes from Apple's discovery document."
        <"https://github.com/supabase/auth/issues/2051">
        [
            "the_issuer_that_discovery_named_for_a_day_is_never_believed"
            "the_canary_tells_of_the_issuer_flip_and_changes_nothing"
            "the issuer of Apple's discovery in June 2025"
        ];
    11 "Strings became booleans in February 2024, and strict readers failed."
        <"https://github.com/nicokaiser/passport-apple/pull/86">
        [
            "booleans_come_as_booleans_and_as_strings"
            "booleans as strings, as until February 2024"
            "apples_past_refuses_no_valid_user_and_believes_no_key_that_is_gone"
        ];
    12 "An email address from the request or its user object is believed."
        <"https://github.com/aspnet-contrib/AspNet.Security.OAuth.Providers/issues/713">
        [
            "what_a_body_or_a_query_says_about_a_person_identifies_nobody"
            "a_spoofed_email_does_not_survive_a_token_without_one"
        ];
    13 "Accounts are linked by an email address without proof, although a managed account's may be unverified."
        <"https://github.com/ACM-VIT/ExamCooker/pull/365">
        [
            "an_email_is_forwarded_only_when_apple_calls_it_verified"
            "deny_wins_over_allow_and_only_verified_addresses_count"
            "an_address_is_private_and_verified_only_if_apple_says_so"
        ];
    14 "An email address is required, and users without one are locked out."
        <"https://github.com/invertase/react-native-apple-authentication/issues/284">
        [
            "every_shape_of_token_that_apple_sends_is_accepted"
            "one_person_keeps_the_subject_when_the_address_is_gone"
            "an empty email"
            "everybody_known_may_pass_unless_a_rule_refuses"
        ];
    15 "The name is not stored at the first consent, and never told again."
        <"https://github.com/invertase/react-native-apple-authentication/issues/279">
        []
        "the name is not in the token, and nothing about people is stored here: it passes in the body, to the application";
    16 "The nonce is missing, unchecked when missing, or compared in one convention when it is in the other."
        <"https://github.com/nhosoya/omniauth-apple">
        [
            "a_nonce_is_right_verbatim_and_as_lower_case_hex_of_its_sha_256"
            "only_apples_word_that_nonces_are_not_supported_excuses_a_missing_one"
            "nothing_is_no_nonce_and_a_nonce_is_not_printed"
        ];
    17 "A cookie that is not sent along with a cross-site POST loses the state of a sign-in."
        <"https://github.com/nhosoya/omniauth-apple/issues/54">
        []
        "there is no sign-in by browser here yet, hence no callback and no cookie";
    18 "A client secret expires unnoticed, or is made for longer than six months."
        <"https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret">
        []
        "the token endpoint is not asked yet, so that there is no client secret";
    19 "A client secret is signed in DER, or for another client than the one that asks."
        <"https://developer.apple.com/documentation/technotes/tn3107-resolving-sign-in-with-apple-response-errors">
        []
        "the token endpoint is not asked yet, so that there is no client secret";
    20 "An authorization code is redeemed twice, or too late."
        <"https://github.com/mikebronner/laravel-sign-in-with-apple/issues/24">
        []
        "no code is redeemed here yet; that a code belongs to a token can be checked before it is spent (rule 12)";
    21 "A token from a second ahead of the local clock is refused, or one from any time ahead accepted."
        <"https://github.com/SocialiteProviders/Providers/issues/1354">
        [
            "a_token_may_be_issued_a_little_in_the_future_but_not_more"
            "issued half a minute from now"
        ];
    22 "A subject is taken for the same in every team, and a transfer of the app orphans its users."
        <"https://developer.apple.com/documentation/technotes/tn3159-migrating-sign-in-with-apple-users-for-an-app-transfer">
        [
            "within 60 days of an app transfer"
            "the_other_identity_headers_are_set_when_asked_for"
        ]
        "users are not migrated here: the application is told both subjects";
    23 "Mail to a relay address is lost, as its sender is not registered with Apple."
        <"https://github.com/klausbetz/apple-identity-provider-keycloak/issues/111">
        []
        "no mail is sent here";
    24 "Apple's answer that a token is revoked is believed, although junk is answered alike."
        <"https://github.com/a-tokyo/apple-signin-auth/issues/132">
        []
        "the revocation endpoint is not asked yet";
    25 "A notification is decoded without its signature, or read in one of its two shapes only."
        <"https://github.com/Timothylock/go-signin-with-apple/pull/56">
        [
            "the_genuine_notification_is_signed_rightly_and_still_proves_nobody"
            "a_notification_is_never_an_identity"
        ]
        "notifications are not received yet: for now it counts that none passes for an identity token";
    26 "The audience of Expo's development app, which all its projects share, is left enabled."
        <"https://docs.expo.dev/versions/latest/sdk/apple-authentication/">
        [
            "Expo's audience, which all its apps share"
            "every_fault_comes_with_a_sentence_to_act_on"
        ];
    27 "An address in a rightly signed token is taken for an account: in 2020 Apple signed tokens for any address that was asked for."
        <"https://aaronparecki.com/2020/05/31/30/the-real-cause-of-the-sign-in-with-apple-zero-day">
        [
            "one_person_keeps_the_subject_when_the_address_is_gone"
            "a_good_token_is_forwarded_as_an_identity_and_nothing_else_changes"
        ];
    28 "A caller's own identity headers reach the application, in another spelling, in trailers, or through an address with a line break."
        [
            "every_spelling_of_every_name_is_stripped_on_every_way_in"
            "a_connection_line_and_trailers_spoof_nothing_on_any_way_in"
            "an_address_that_is_no_field_value_is_left_out_and_the_request_goes_on"
            "more_than_one_credential_is_400"
        ];
};
