//! What is wrong with an input, said so that its sender can mend it: where, which rule, why.

use std::fmt;

/// One broken rule of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901) into the body or the row; empty for the whole.
    pub pointer: String,
    /// Which rule.
    pub code: FaultCode,
    /// One sentence for a person.
    pub detail: String,
}

impl Fault {
    /// Makes a fault at `pointer`.
    pub fn new(pointer: impl Into<String>, code: FaultCode, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}): {}",
            self.pointer,
            self.code.as_str(),
            self.detail
        )
    }
}

/// The stable names of the rules an input can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The row is not well-formed (a broken NDJSON or CSV line).
    Malformed,
    /// A required field is absent.
    MissingField,
    /// A field that the schema does not know.
    UnknownField,
    /// A field given twice.
    DuplicateField,
    /// A value of another JSON type.
    WrongType,
    /// A number or an instant outside its bounds.
    OutOfRange,
    /// A text that does not have the required form.
    InvalidFormat,
    /// A text longer than allowed.
    TooLong,
    /// A timestamp later than now and the allowed skew.
    FutureTimestamp,
    /// A name that the API keeps for itself.
    Reserved,
    /// A meter outside the caller's scope.
    OutOfScope,
}

impl FaultCode {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::MissingField,
        Self::UnknownField,
        Self::DuplicateField,
        Self::WrongType,
        Self::OutOfRange,
        Self::InvalidFormat,
        Self::TooLong,
        Self::FutureTimestamp,
        Self::Reserved,
        Self::OutOfScope,
    ];

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Malformed => "The row is not well-formed",
            Self::MissingField => "A required field is absent",
            Self::UnknownField => "A field that is not known",
            Self::DuplicateField => "A field given twice",
            Self::WrongType => "A value of another JSON type",
            Self::OutOfRange => "A number or an instant outside its bounds",
            Self::InvalidFormat => "A text that does not have the required form",
            Self::TooLong => "A text longer than allowed",
            Self::FutureTimestamp => "A timestamp later than now and the allowed skew",
            Self::Reserved => "A name that the API keeps for itself",
            Self::OutOfScope => "A meter outside the caller's scope",
        }
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::MissingField => "missing_field",
            Self::UnknownField => "unknown_field",
            Self::DuplicateField => "duplicate_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::InvalidFormat => "invalid_format",
            Self::TooLong => "too_long",
            Self::FutureTimestamp => "future_timestamp",
            Self::Reserved => "reserved",
            Self::OutOfScope => "out_of_scope",
        }
    }
}
