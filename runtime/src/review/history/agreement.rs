//! How far people agree who have seen the same tile.

use std::collections::BTreeMap;

use millsight_export::card::Proportion;
use millsight_export::operating::bounds::exact;
use serde::Serialize;

use crate::review::decision::HOLDS;
use crate::review::error::ReviewError;
use crate::review::store::Review;

/// How far decisions on the same tile agree: each that was made without the earlier
/// answer, with the one before it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Agreement {
    /// Of pairs by the same reviewer, those that are the same; exact bounds of 95 %.
    #[schema(value_type = Object)]
    pub with_oneself: Proportion,
    /// Of pairs by two reviewers, those that are the same; exact bounds of 95 %.
    #[schema(value_type = Object)]
    pub with_others: Proportion,
    /// Cohen's kappa of the pairs by two reviewers (Educational and Psychological
    /// Measurement 20, 1960): 1 where they always agree, 0 where no more than by chance.
    /// None where that is not defined.
    pub kappa: Option<f64>,
}

/// Two decisions on a tile.
struct Pair {
    same_reviewer: bool,
    first: String,
    second: String,
}

impl Review {
    /// How far people agree, over all of the record.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn agreement(&self) -> Result<Agreement, ReviewError> {
        let sql = format!(
            "SELECT reviewer = earlier, class_before, class FROM (\
             SELECT d.reviewer, coalesce(d.class, '') AS class, d.is_blind, \
             lag(d.reviewer) OVER of_tile AS earlier, \
             lag(coalesce(d.class, '')) OVER of_tile AS class_before \
             FROM decision d WHERE {HOLDS} \
             WINDOW of_tile AS (PARTITION BY d.tile ORDER BY d.id)) \
             WHERE is_blind AND earlier IS NOT NULL"
        );
        let pairs = self.all(&sql, [], |row| {
            Ok(Pair {
                same_reviewer: row.get(0)?,
                first: row.get(1)?,
                second: row.get(2)?,
            })
        })?;
        let (own, others): (Vec<&Pair>, Vec<&Pair>) =
            pairs.iter().partition(|pair| pair.same_reviewer);
        Ok(Agreement {
            with_oneself: alike(&own),
            with_others: alike(&others),
            kappa: kappa(&others),
        })
    }
}

fn alike(pairs: &[&Pair]) -> Proportion {
    let same = pairs.iter().filter(|pair| pair.first == pair.second);
    exact(same.count() as u64, pairs.len() as u64)
}

fn kappa(pairs: &[&Pair]) -> Option<f64> {
    let count = pairs.len() as f64;
    let mut marginals: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut observed = 0.0;
    for pair in pairs {
        marginals.entry(&pair.first).or_default().0 += 1.0 / count;
        marginals.entry(&pair.second).or_default().1 += 1.0 / count;
        observed += f64::from(u8::from(pair.first == pair.second)) / count;
    }
    let by_chance: f64 = marginals
        .values()
        .map(|(first, second)| first * second)
        .sum();
    (count > 0.0 && by_chance < 1.0).then(|| (observed - by_chance) / (1.0 - by_chance))
}
