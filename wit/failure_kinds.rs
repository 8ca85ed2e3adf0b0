/// The kinds of failure, each with its name in the contract, in the contract's order: the one list of which the host and the
/// component make their types. `types.wit` says what they mean.
macro_rules! failure_kinds {
    ($make:ident) => {
        $make! {
            Throttled = "throttled",
            TimedOut = "timed-out",
            Unavailable = "unavailable",
            AccessDenied = "access-denied",
            NotFound = "not-found",
            UnsupportedDocument = "unsupported-document",
            DocumentTooLarge = "document-too-large",
            BadDocument = "bad-document",
            BadLocation = "bad-location",
            InvalidRequest = "invalid-request",
            LeaseLost = "lease-lost",
            BadResponse = "bad-response",
            LimitExceeded = "limit-exceeded",
            Internal = "internal",
        }
    };
}
