"""Presets: sizes of the same model.

``nano`` trains in minutes on two CPU cores, ``small`` in an hour, ``paper`` is LeWorldModel as published (18,034,478
parameters for actions of A·K = 10) and wants a GPU. ``lean`` has as many parameters as ``paper``, but has them where they
are used once a decision, in the encoder; its predictor, which is used for every step of every imagined plan, is nano's.
``nano_fused`` is nano with one encoder for all views in place of stacked ones.
"""

from dataclasses import replace

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig

PRESETS: dict[str, JEPAConfig] = {
    "nano": JEPAConfig(image_size=64),
    "nano_fused": JEPAConfig(image_size=64, encoder=EncoderConfig(fusion="shared")),
    "small": JEPAConfig(
        image_size=96,
        projector_hidden=512,
        encoder=EncoderConfig(width=256, channels=(48, 96, 160, 192), blocks=2),
        predictor=PredictorConfig(depth=4, heads=8, dim_head=32, mlp=512),
    ),
    "paper": JEPAConfig(
        image_size=224,
        latent_dim=192,
        projector_hidden=2048,
        encoder=EncoderConfig(kind="vit", width=192, patch=14, depth=12, heads=3),
        predictor=PredictorConfig(depth=6, heads=16, dim_head=64, mlp=2048),
    ),
    "lean": JEPAConfig(
        image_size=224,
        encoder=EncoderConfig(kind="vit", width=392, patch=14, depth=9, heads=7),
    ),
}


def preset(name: str, **changes: object) -> JEPAConfig:
    """The configuration called ``name`` with some fields replaced.

    Raises:
        JepaflowError: for an unknown name.
    """
    if name not in PRESETS:
        raise JepaflowError(f"There is no preset {name!r}. Choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]
