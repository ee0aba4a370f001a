//! The work beside serving: build, copy the plugin into the folder that is served, wait for a
//! change.

use std::future;
use std::io::{self, ErrorKind};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::build::{Build, ended};
use super::project::Project;
use super::sources;
use crate::plugin::Watch;

/// How often the sources are looked at where no events come.
const POLL: Duration = Duration::from_secs(1);

/// Builds the project now and after each change of its sources, one build at a time, until
/// `stopping` is cancelled. The supervisor sees what comes into the folder that it serves, and
/// needs no word of this.
pub(super) async fn work(mut project: Project, stopping: CancellationToken) {
    let mut watch = Watch::start();
    let mut build = None;
    let mut built = None;
    loop {
        // Watched first, and then looked at: no change comes in between.
        block_in_place(|| watch.cover(sources::folders(project.folder())));
        put_manifest(&project);
        if build.is_none() {
            let now = block_in_place(|| sources::digest(project.folder(), &project.not_sources()));
            if built.replace(now) != Some(now) {
                build = start(&mut project);
            }
        }
        let poll = async { if watch.works() { future::pending().await } else { sleep(POLL).await } };
        tokio::select! {
            status = ended(&mut build) => {
                if let Some(build) = build.take() {
                    block_in_place(|| finish(&project, &build, status));
                }
            }
            () = watch.changed() => {}
            () = poll => {}
            () = stopping.cancelled() => break,
        }
    }
    if let Some(build) = build {
        build.stop().await;
    }
}

fn start(project: &mut Project) -> Option<Build> {
    if let Err(error) = block_in_place(|| project.reopen()) {
        tracing::error!(%error, "not built; the served plugin stays");
        return None;
    }
    tracing::info!(command = project.command(), "building");
    let build = Build::start(project.command(), project.folder());
    build.inspect_err(|error| tracing::error!(%error, "the build can't be started; the served plugin stays")).ok()
}

fn finish(project: &Project, build: &Build, status: io::Result<ExitStatus>) {
    let put = status.and_then(|status| match status.success() {
        true => project.put_plugin(),
        false => Err(io::Error::other(status.to_string())),
    });
    match put {
        Ok(()) => tracing::info!("built in {:.1} s", build.duration().as_secs_f32()),
        Err(error) => tracing::error!(%error, "the build failed; the served plugin stays"),
    }
}

fn put_manifest(project: &Project) {
    match project.put_manifest() {
        // Somebody is replacing it, and there is another event when that is done.
        Err(error) if matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::NotFound) => {}
        Err(error) => tracing::error!(%error, "the manifest stays as it was"),
        Ok(()) => {}
    }
}
