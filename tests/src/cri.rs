//! The two calls of Kubernetes' CRI that pull and list images, as kubelet makes them.
//!
//! The messages hold only the fields used here; protobuf skips the others.

use std::path::Path;

use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageResponse {
    #[prost(string, tag = "1")]
    image_ref: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListImagesRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListImagesResponse {
    #[prost(message, repeated, tag = "1")]
    images: Vec<Image>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(string, repeated, tag = "2")]
    repo_tags: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    repo_digests: Vec<String>,
}

/// `ImageService/PullImage`: the image's id, or the message that kubelet would show.
pub(crate) fn pull(socket: &Path, image: &str) -> Result<String, String> {
    let request = PullImageRequest { image: Some(ImageSpec { image: image.to_owned() }) };
    let response: Result<PullImageResponse, Status> =
        unary(socket, "/runtime.v1.ImageService/PullImage", request);
    response.map(|response| response.image_ref).map_err(|status| status.message().to_owned())
}

/// `ImageService/ListImages`: every tag and digest that is there.
pub(crate) fn list(socket: &Path) -> Vec<String> {
    let response: Result<ListImagesResponse, Status> =
        unary(socket, "/runtime.v1.ImageService/ListImages", ListImagesRequest {});
    let images =
        response.unwrap_or_else(|status| panic!("CRI cannot list images: {status}")).images;
    images.into_iter().flat_map(|image| [image.repo_tags, image.repo_digests].concat()).collect()
}

fn unary<Q, A>(socket: &Path, method: &'static str, request: Q) -> Result<A, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime for one call");
    runtime.block_on(async {
        let channel: Channel = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .expect("the path of a socket")
            .connect()
            .await
            .unwrap_or_else(|error| panic!("containerd's socket: {error}"));
        let mut client = Grpc::new(channel);
        client.ready().await.unwrap_or_else(|error| panic!("containerd's socket: {error}"));
        let codec = ProstCodec::<Q, A>::default();
        let response =
            client.unary(Request::new(request), PathAndQuery::from_static(method), codec).await?;
        Ok(response.into_inner())
    })
}
