"""RAVE: networks, bottlenecks, and the codec that they make."""

from orchestrion.codecs.rave.bottlenecks import QuantisedConfig, VariationalConfig, WassersteinConfig
from orchestrion.codecs.rave.codec import RaveCodec, RaveConfig
from orchestrion.codecs.rave.networks import RaveNoiseConfig, RaveV1Config, RaveV2Config

__all__ = ["QuantisedConfig", "RaveCodec", "RaveConfig", "RaveNoiseConfig", "RaveV1Config", "RaveV2Config",
           "VariationalConfig", "WassersteinConfig"]
