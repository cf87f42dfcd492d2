//! The workflows that come with the gateway, embedded as text. They pass the same checks as anyone's.

/// One workflow that comes with the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundledWorkflow {
    /// The id to register it under.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub description: &'static str,
    /// The graph in ComfyUI's API format with placeholders, as JSON text.
    pub graph: &'static str,
    /// The JSON Schema of its inputs, as JSON text.
    pub schema: &'static str,
}

macro_rules! embedded {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../workflows/", $file))
    };
}

/// All workflows that come with the gateway.
pub fn bundled() -> &'static [BundledWorkflow] {
    &BUNDLED
}

static BUNDLED: [BundledWorkflow; 5] = [
    BundledWorkflow {
        id: "sdxl_realism_v1",
        name: "SDXL realism",
        description: "Photorealistic pictures with SDXL base: portraits, landscapes, product shots.",
        graph: embedded!("sdxl_realism_v1.json"),
        schema: embedded!("sdxl_realism_v1.schema.json"),
    },
    BundledWorkflow {
        id: "sprite_transparent_bg",
        name: "Sprite with transparent background",
        description: "2D game sprites with a real alpha channel, with SD 1.5 or SDXL.",
        graph: embedded!("sprite_transparent_bg.json"),
        schema: embedded!("sprite_transparent_bg.schema.json"),
    },
    BundledWorkflow {
        id: "icon_512",
        name: "App icon",
        description: "Square app icons with clean edges, by default 512x512, with an optional 2x upscale.",
        graph: embedded!("icon_512.json"),
        schema: embedded!("icon_512.schema.json"),
    },
    BundledWorkflow {
        id: "img2img",
        name: "Image to image",
        description: "A new picture from a picture and a prompt, with SDXL; the strength decides how close it stays.",
        graph: embedded!("img2img.json"),
        schema: embedded!("img2img.schema.json"),
    },
    BundledWorkflow {
        id: "inpaint",
        name: "Inpainting",
        description: "A picture whose masked part is painted anew from a prompt, with SD 1.5 or SDXL.",
        graph: embedded!("inpaint.json"),
        schema: embedded!("inpaint.schema.json"),
    },
];
