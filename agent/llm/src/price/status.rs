use std::fmt;

/// What looking for a price came to: a word for records and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PriceStatus {
    /// The model is on the list by this very name.
    Exact,
    /// A pattern, another way to write the name, or another provider's list matched.
    Alias,
    /// The provider itself told the cost.
    Told,
    /// No list has the provider. The cost is unknown.
    UnknownProvider,
    /// No list of the provider has the model, or no model was named. The cost is unknown.
    UnknownModel,
    /// The model is on the list, without a rate for something that was used. The cost is unknown.
    NoRate,
    /// The provider's counts contradict each other. The cost is unknown.
    Contradiction,
}

impl PriceStatus {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Exact,
        Self::Alias,
        Self::Told,
        Self::UnknownProvider,
        Self::UnknownModel,
        Self::NoRate,
        Self::Contradiction,
    ];

    /// The status as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Alias => "alias",
            Self::Told => "told",
            Self::UnknownProvider => "unknown_provider",
            Self::UnknownModel => "unknown_model",
            Self::NoRate => "no_rate",
            Self::Contradiction => "contradiction",
        }
    }

    /// The status of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether it came with a cost.
    pub fn is_priced(self) -> bool {
        matches!(self, Self::Exact | Self::Alias | Self::Told)
    }
}

impl fmt::Display for PriceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
