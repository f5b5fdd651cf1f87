"""Names of diffusers: its UNet2DModel is the denoiser, which is `network` here."""

from nnatomy.interchange.names import Names

PARTS = ("conv_in", "time_embedding", "class_embedding", "down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_out")


def tables(classes: int = 0, **_: object) -> dict[str, Names]:
    """Return the table of each library that names weights otherwise."""
    return {"diffusers": {part: f"network.{part}" for part in PARTS if classes or part != "class_embedding"}}
