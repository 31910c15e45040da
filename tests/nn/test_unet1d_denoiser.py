import torch

from orchestrion.contracts import Conditioning
from orchestrion.nn.unet1d_denoiser import UNet1dDenoiser


class WithNull(torch.nn.Module):
    """Stands in for a U-Net whose learned null is sevens."""

    null = object()

    def without_prompt(self, sequence, dropped):
        return torch.where(dropped[:, None, None], torch.full_like(sequence, 7.0), sequence)


def test_guidance_leads_away_from_the_negative_prompt_where_there_is_one_and_else_from_the_learned_null():
    denoiser = UNet1dDenoiser.__new__(UNet1dDenoiser)
    torch.nn.Module.__init__(denoiser)
    denoiser.net = WithNull()
    asked, negative = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    said = Conditioning(sequence=asked, against=Conditioning(sequence=negative), negated=(True, False))
    away = denoiser.null(said).sequence
    assert torch.equal(away[0], negative[0]) and (away[1] == 7).all()
    assert (denoiser.null(Conditioning(sequence=asked)).sequence == 7).all()
