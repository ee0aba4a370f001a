//! Addresses that go from one plugin to another, and those that can't be had yet.

use tokio::time::Instant;

use super::loading::Claims;
use super::serving::Serving;
use super::{RETRY, Supervisor};
use crate::config::{LOOK, ListenAddress};

impl Supervisor {
    /// Has listeners go from plugins that no longer want them to those that do, and closes those
    /// that nobody wants.
    pub(super) async fn move_listeners(&mut self) {
        let missing: Vec<(String, ListenAddress)> = self
            .plugins
            .iter()
            .filter_map(|(name, entry)| Some((name, entry.serving.as_ref()?)))
            .flat_map(|(name, serving)| serving.missing().map(|address| (name.clone(), address.clone())))
            .collect();
        for (name, address) in missing {
            let mut others = self.plugins.iter_mut().filter(|(other, _)| **other != name);
            let given = others.find_map(|(_, entry)| entry.serving.as_mut()?.give(&address, false));
            if let Some(server) = given
                && let Some(serving) = self.plugins.get_mut(&name).and_then(|entry| entry.serving.as_mut())
            {
                serving.take(server).await;
            }
        }
        let claims = self.claims();
        for (name, entry) in &mut self.plugins {
            let Some(serving) = &mut entry.serving else { continue };
            serving.let_go(|address| is_claimed(&claims, name, address)).await;
        }
        // A plugin that is being loaded, or about to go, may still change what is free.
        if claims.is_empty() && self.plugins.values().all(|entry| entry.gone_since.is_none()) {
            self.plugins.values_mut().filter_map(|entry| entry.serving.as_mut()).for_each(Serving::say_failures);
        } else if claims.iter().any(|(_, claims)| claims.get().is_none()) {
            self.scan_within(LOOK);
        }
    }

    /// What the plugins ask for that are being loaded now.
    pub(super) fn claims(&self) -> Vec<(String, Claims)> {
        self.plugins.iter().filter_map(|(name, entry)| Some((name.clone(), entry.loading.clone()?))).collect()
    }

    pub(super) async fn retry(&mut self) {
        for serving in self.plugins.values_mut().filter_map(|entry| entry.serving.as_mut()) {
            serving.retry().await;
            serving.say_failures();
        }
        self.move_listeners().await;
        self.next_retry = None;
        self.schedule_retry();
    }

    pub(super) fn schedule_retry(&mut self) {
        let failing = self.plugins.values().filter_map(|entry| entry.serving.as_ref()).any(Serving::is_failing);
        self.next_retry = failing.then(|| self.next_retry.unwrap_or_else(|| Instant::now() + RETRY));
    }
}

/// Whether another plugin than this one is being loaded that may ask for this address.
pub(super) fn is_claimed(claims: &[(String, Claims)], by_another_than: &str, address: &ListenAddress) -> bool {
    claims.iter().any(|(name, claims)| {
        name != by_another_than && claims.get().is_none_or(|addresses| addresses.contains(address))
    })
}
