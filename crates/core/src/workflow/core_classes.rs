//! The names of ComfyUI's own common node classes, for when no server can be asked.

/// Whether `class` is known to come with ComfyUI itself.
pub(super) fn is_core(class: &str) -> bool {
    CORE_CLASSES.binary_search(&class).is_ok()
}

const CORE_CLASSES: [&str; 83] = [
    "BasicGuider",
    "BasicScheduler",
    "CLIPLoader",
    "CLIPSetLastLayer",
    "CLIPTextEncode",
    "CheckpointLoaderSimple",
    "ConditioningCombine",
    "ConditioningSetMask",
    "ControlNetApply",
    "ControlNetApplyAdvanced",
    "ControlNetLoader",
    "CreateVideo",
    "DualCLIPLoader",
    "EmptyImage",
    "EmptyLatentAudio",
    "EmptyLatentImage",
    "EmptySD3LatentImage",
    "FeatherMask",
    "FluxGuidance",
    "GrowMask",
    "ImageBatch",
    "ImageBlend",
    "ImageBlur",
    "ImageColorToMask",
    "ImageCompositeMasked",
    "ImageCrop",
    "ImageInvert",
    "ImagePadForOutpaint",
    "ImageQuantize",
    "ImageScale",
    "ImageScaleBy",
    "ImageScaleToTotalPixels",
    "ImageSharpen",
    "ImageToMask",
    "ImageUpscaleWithModel",
    "InvertMask",
    "JoinImageWithAlpha",
    "KSampler",
    "KSamplerAdvanced",
    "KSamplerSelect",
    "LatentFromBatch",
    "LatentUpscale",
    "LatentUpscaleBy",
    "LoadAudio",
    "LoadImage",
    "LoadImageMask",
    "LoadImageOutput",
    "LoadVideo",
    "LoraLoader",
    "LoraLoaderModelOnly",
    "MaskComposite",
    "MaskToImage",
    "ModelSamplingDiscrete",
    "PorterDuffImageComposite",
    "PreviewAny",
    "PreviewAudio",
    "PreviewImage",
    "PrimitiveFloat",
    "PrimitiveInt",
    "PrimitiveString",
    "RandomNoise",
    "RepeatLatentBatch",
    "SamplerCustomAdvanced",
    "SaveAnimatedPNG",
    "SaveAnimatedWEBP",
    "SaveAudio",
    "SaveAudioMP3",
    "SaveGLB",
    "SaveImage",
    "SaveImageWebsocket",
    "SaveVideo",
    "SaveWEBM",
    "SetLatentNoiseMask",
    "SolidMask",
    "SplitImageWithAlpha",
    "ThresholdMask",
    "UNETLoader",
    "UpscaleModelLoader",
    "VAEDecode",
    "VAEDecodeTiled",
    "VAEEncode",
    "VAEEncodeForInpaint",
    "VAELoader",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_so_that_it_can_be_searched() {
        assert!(CORE_CLASSES.is_sorted());
        assert!(is_core("KSampler") && !is_core("VHS_LoadVideo"));
    }
}
