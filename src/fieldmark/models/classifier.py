"""Complete pretrained networks with their classifier for the 1,000 classes of ImageNet."""

from __future__ import annotations

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.core.errors import WeightsError
from fieldmark.models.packages import locate, package_of
from fieldmark.models.specs import Backbone, PackageWeights
from fieldmark.models.weights import Origin, read_state


class Classifier(nn.Module):
    """Pooled features and ImageNet class probabilities of images, from a pretrained network.

    Args:
        model: A timm network with its classifier.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, pictures: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return the pooled feature before the classifier, and the probability of each class."""
        feature_map = self.model.forward_features(pictures)  # type: ignore[operator]
        feature = self.model.forward_head(feature_map, pre_logits=True)  # type: ignore[operator]
        return feature, torch.softmax(self.model.get_classifier()(feature), dim=1)  # type: ignore[operator]


def build_classifier(spec: Backbone) -> tuple[Classifier, Origin]:
    """Return a pretrained network with its classifier, in evaluation mode.

    Args:
        spec: A backbone with packaged weights. Only these are known to have the classifier of ImageNet.

    Raises:
        WeightsError: The weights are not packaged, or do not fit the network.
        PlanError: No package provides weights for this backbone.
    """
    if not isinstance(spec.weights, PackageWeights):
        raise WeightsError(
            "weights: an ImageNet classifier is available for packaged weights only.",
            got=f"{spec.name} with {spec.weights.kind} weights",
            fix='use the backbone "tf_efficientnet_lite0" with packaged weights here.',
        )
    package = package_of(spec.name)
    state, digest = read_state(
        locate(package), sha256=package.sha256, mend=f"run `{package.install} --force-reinstall`."
    )
    model = timm.create_model(spec.name, pretrained=False, in_chans=spec.in_channels)
    counters = {key: value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")}
    model.load_state_dict(counters | {package.rename(key): value for key, value in state.items()}, strict=True)
    return Classifier(model.eval()), Origin("package", f"{package.distribution} {package.version}", digest)
