use grantor::policy::{ErrorRedirects, Policy, RefreshTokens, Rotation};
use time::Duration;

#[test]
fn defaults_of_the_policy() {
    let policy = Policy::default();
    assert_eq!(policy.code_lifetime, Duration::minutes(1));
    assert!(!policy.tolerate_repeated_codes);
    assert_eq!(policy.access_token_lifetime, Duration::hours(1));
    assert_eq!(policy.refresh_token_idle_lifetime, Duration::days(14));
    assert_eq!(policy.refresh_token_absolute_lifetime, Duration::days(90));
    assert_eq!(policy.refresh_grace, Duration::seconds(30));
    assert_eq!(policy.consent_lifetime, Duration::minutes(30));
    assert_eq!((policy.refresh_burst, policy.refresh_interval), (1_000, Duration::seconds(30)));
    assert_eq!(policy.refresh_tokens, RefreshTokens::Always);
    assert_eq!(policy.refresh_token_rotation, Rotation::Always);
    assert_eq!(policy.error_redirects, ErrorRedirects::Registered);
    assert!(policy.localhost_redirects && policy.undotted_schemes.is_empty());
    assert!(!policy.require_signed_request_object);
    assert!(!policy.https_redirect_proves_identity && !policy.bearer_in_body && !policy.check_subject_at_use);
    assert!(!policy.introspect_refresh_tokens && policy.self_service_scope.is_none());
    assert_eq!((policy.max_state, policy.max_body, policy.body_deadline), (4_096, 65_536, Duration::seconds(10)));
    let fetch = &policy.fetch;
    assert_eq!((fetch.timeout, fetch.allowed_ports.first()), (Duration::seconds(5), Some(&443)));
    assert_eq!((fetch.max_at_once, fetch.max_per_minute, fetch.allowed_ports.len()), (32, 600, 1));
    assert_eq!((fetch.max_per_host, fetch.max_per_peer, fetch.allow_loopback_for_development), (60, 20, false));
    let dangers = policy.allowed_dangers();
    assert!(!dangers.allow_implicit_grant && !dangers.allow_password_grant);
    assert!(!dangers.allow_plain_pkce && !dangers.pkce_optional);
    assert!(!dangers.allow_token_parameters_in_query && !dangers.allow_out_of_band_redirect);
}
