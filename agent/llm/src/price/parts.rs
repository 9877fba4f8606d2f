use rust_decimal::Decimal;

use super::{Asked, Kind, Prices, seconds, units};

impl Prices {
    /// What each kind of use costs, for whoever breaks a bill down. Their sum is the price.
    ///
    /// `None` where the price is unknown, or is no sum of kinds: the provider told it, or a factor or a pointer changes it.
    pub fn parts(&self, asked: &Asked<'_>) -> Option<Vec<(Kind, Decimal)>> {
        if asked.told.is_some() {
            return None;
        }
        let at = seconds(asked.at);
        let search = self.search(asked);
        let candidate = search.candidates.iter().find(|candidate| self.model(candidate).is_at(at))?;
        let model = self.model(candidate);
        if !model.has_rates() || model.multiply.is_some() || !model.pointers.is_empty() {
            return None;
        }
        let mut parts = Vec::new();
        let settings = self.settings(asked.provider);
        let add = |kind, cost| parts.push((kind, cost));
        units::each(model, settings, asked.usage, at, candidate.is_own, add).ok()?;
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::usage::Usage;

    #[test]
    fn the_parts_add_up_to_the_price() {
        let usage = Usage { input: 300_000, output: 900, cache_read: 1_000, reasoning: 300, ..Usage::default() };
        let asked = |model| Asked {
            provider: "openai",
            region: None,
            response_model: Some(model),
            request_model: None,
            usage: &usage,
            pointed: None,
            told: None,
            at: SystemTime::UNIX_EPOCH + Duration::from_hours(489_958),
        };
        let prices = Prices::bundled();
        let parts = prices.parts(&asked("gpt-5")).expect("it has rates");
        let kinds: Vec<_> = parts.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Input, Kind::Output, Kind::CacheRead, Kind::Reasoning]);
        let sum: Decimal = parts.iter().map(|(_, cost)| cost).sum();
        assert_eq!(sum, prices.price(&asked("gpt-5")).expect("it has a price").cost);
        assert_eq!(prices.parts(&asked("no-such-model")), None);
        let told = Asked { told: Some(Decimal::ONE), ..asked("gpt-5") };
        assert_eq!(prices.parts(&told), None);
    }
}
