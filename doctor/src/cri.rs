//! containerd's socket: the calls of Kubernetes' CRI that kubelet makes about images
//! (`runtime.v1.ImageService`), and containerd's own for its version.
//!
//! The messages hold only the fields used here; protobuf skips the others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Time for a call that pulls nothing.
const CALL_TIME: Duration = Duration::from_secs(10);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody listens, or not on a socket.
    #[error("no answer at {}: {}", socket.display(), innermost(source))]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the transport says.
        source: tonic::transport::Error,
    },
    /// Nobody listens there.
    #[error("no answer at {}: {source}", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// containerd, or what it asked, answered with an error.
    #[error("{message}")]
    Refused {
        /// The message, which kubelet would show.
        message: String,
    },
    /// No answer in time.
    #[error("no answer within {} s", limit.as_secs())]
    Time {
        /// The time that there was.
        limit: Duration,
    },
}

impl CallError {
    /// With the socket as the node calls it, which is not always how it is reached.
    #[must_use]
    pub fn named(mut self, name: &Path) -> Self {
        if let Self::Connect { socket, .. } | Self::Socket { socket, .. } = &mut self {
            name.clone_into(socket);
        }
        self
    }
}

/// What began it: the transport itself only says "transport error".
fn innermost(error: &tonic::transport::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageResponse {
    #[prost(string, tag = "1")]
    image_ref: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListImagesResponse {
    #[prost(message, repeated, tag = "1")]
    images: Vec<Image>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VersionResponse {
    #[prost(string, tag = "1")]
    version: String,
}

/// An image that CRI knows.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Image {
    /// Its id, the digest of its config.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The tags that it has.
    #[prost(string, repeated, tag = "2")]
    pub repo_tags: Vec<String>,
    /// The digests under which it was pulled.
    #[prost(string, repeated, tag = "3")]
    pub repo_digests: Vec<String>,
}

impl Image {
    /// All of its names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().chain(&self.repo_digests).map(String::as_str)
    }
}

/// containerd, behind its socket.
#[derive(Clone, Debug)]
pub struct Containerd {
    channel: Channel,
    /// The process that listens; 0 for one of another PID namespace.
    pub pid: u32,
}

impl Containerd {
    /// Connects to `socket`.
    pub async fn connect(socket: &Path) -> Result<Self, CallError> {
        let pid = in_time(CALL_TIME, peer(socket)).await?;
        let failed = |source| CallError::Connect { socket: socket.to_owned(), source };
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()));
        let endpoint = endpoint.map_err(failed)?.connect_timeout(CALL_TIME);
        let channel =
            in_time(CALL_TIME, async { endpoint.connect().await.map_err(failed) }).await?;
        Ok(Self { channel, pid })
    }

    /// The version of containerd, such as `2.1.4`.
    pub async fn version(&self) -> Result<String, CallError> {
        let path = "/containerd.services.version.v1.Version/Version";
        let response: VersionResponse = self.call(path, Nothing {}, CALL_TIME).await?;
        Ok(response.version)
    }

    /// `ImageService/PullImage`: the image's id.
    pub async fn pull(&self, image: &str, limit: Duration) -> Result<String, CallError> {
        let path = "/runtime.v1.ImageService/PullImage";
        let response: PullImageResponse = self.call(path, request(image), limit).await?;
        Ok(response.image_ref)
    }

    /// `ImageService/ListImages`.
    pub async fn images(&self) -> Result<Vec<Image>, CallError> {
        let path = "/runtime.v1.ImageService/ListImages";
        let response: ListImagesResponse = self.call(path, Nothing {}, CALL_TIME).await?;
        Ok(response.images)
    }

    /// `ImageService/RemoveImage`: the image with every name that it has. No error if there is none.
    pub async fn remove(&self, image: &str) -> Result<(), CallError> {
        let path = "/runtime.v1.ImageService/RemoveImage";
        let Nothing {} = self.call(path, request(image), CALL_TIME).await?;
        Ok(())
    }

    async fn call<Q, A>(
        &self,
        method: &'static str,
        request: Q,
        limit: Duration,
    ) -> Result<A, CallError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut client = Grpc::new(self.channel.clone());
        in_time(limit, async {
            let gone =
                |error: tonic::transport::Error| CallError::Refused { message: error.to_string() };
            client.ready().await.map_err(gone)?;
            let path = PathAndQuery::from_static(method);
            let codec = ProstCodec::<Q, A>::default();
            let response = client.unary(Request::new(request), path, codec).await;
            response
                .map(tonic::Response::into_inner)
                .map_err(|status| CallError::Refused { message: status.message().to_owned() })
        })
        .await
    }
}

/// The process that listens at `socket`; 0 for one that cannot be seen from this PID namespace.
async fn peer(socket: &Path) -> Result<u32, CallError> {
    let answer = async { UnixStream::connect(socket).await?.peer_cred() }.await;
    let peer = answer.map_err(|source| CallError::Socket { socket: socket.to_owned(), source })?;
    Ok(peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0))
}

fn request(image: &str) -> ImageRequest {
    ImageRequest { image: Some(ImageSpec { image: image.to_owned() }) }
}

async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(CallError::Time { limit }))
}
