//! What comes out as files: pictures that differ, real alpha channels, metadata and sizes.

use image::GenericImageView;
use serde_json::{Value, json};

use crate::support::{Server, sampler, small};

async fn picture(server: &Server, prompt: Value) -> image::DynamicImage {
    let entry = server.run(prompt).await;
    assert_eq!(entry["status"]["status_str"], "success", "{}", entry["status"]);
    image::load_from_memory(&server.first_picture(&entry).await).unwrap()
}

#[tokio::test]
async fn pictures_differ_by_seed_and_by_prompt_and_repeat_otherwise() {
    let server = Server::start().await;
    let cat = picture(&server, sampler(1, 2, "a cat")).await;
    assert_eq!(cat.dimensions(), (128, 128));
    assert_ne!(cat, picture(&server, sampler(2, 2, "a cat")).await);
    assert_ne!(cat, picture(&server, sampler(1, 2, "a dog")).await);
    assert_eq!(cat, picture(&server, sampler(1, 2, "a cat")).await);
}

#[tokio::test]
async fn a_batch_gives_one_file_a_picture() {
    let server = Server::start().await;
    let mut prompt = sampler(1, 1, "x");
    prompt["5"]["inputs"]["batch_size"] = json!(3);
    let entry = server.run(prompt).await;
    let names: Vec<&Value> =
        entry["outputs"]["9"]["images"].as_array().unwrap().iter().map(|file| &file["filename"]).collect();
    assert_eq!(names, ["ks_00001_.png", "ks_00002_.png", "ks_00003_.png"]);
}

#[tokio::test]
async fn a_joined_alpha_channel_is_transparent_where_the_mask_is_bright() {
    let server = Server::start().await;
    let prompt = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 40, "height": 20, "batch_size": 1, "color": 0xFF_8000}},
        "2": {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 40, "height": 20}},
        "3": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 10, "height": 20}},
        "4": {"class_type": "MaskComposite", "inputs": {"destination": ["2", 0], "source": ["3", 0], "x": 5, "y": 0,
            "operation": "add"}},
        "5": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["1", 0], "alpha": ["4", 0]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "sprite"}},
    });
    let sprite = picture(&server, prompt).await;
    assert!(sprite.color().has_alpha());
    let sprite = sprite.to_rgba8();
    assert_eq!(sprite.get_pixel(0, 0).0, [0xFF, 0x80, 0, 255]);
    assert_eq!(sprite.get_pixel(5, 0).0[3], 0);
    assert_eq!(sprite.pixels().filter(|pixel| pixel.0[3] == 0).count(), 200);
}

#[tokio::test]
async fn a_sprite_is_cut_out_of_the_flat_background_that_its_prompt_asks_for() {
    let server = Server::start().await;
    let mut prompt = sampler(5, 2, "a knight, magenta background");
    prompt["10"] = json!({"class_type": "ImageColorToMask", "inputs": {"image": ["8", 0], "color": 0xFF_00FF}});
    prompt["11"] =
        json!({"class_type": "GrowMask", "inputs": {"mask": ["10", 0], "expand": 1, "tapered_corners": true}});
    prompt["12"] = json!({"class_type": "JoinImageWithAlpha", "inputs": {"image": ["8", 0], "alpha": ["11", 0]}});
    prompt["9"]["inputs"]["images"] = json!(["12", 0]);
    let sprite = picture(&server, prompt).await.to_rgba8();
    let transparent = sprite.pixels().filter(|pixel| pixel.0[3] == 0).count();
    assert!((1000..15_000).contains(&transparent), "{transparent} of {}", 128 * 128);
}

/// Runs one picture through every node that changes pictures and masks.
#[tokio::test]
async fn every_picture_and_mask_node_runs() {
    let server = Server::start().await;
    let image = |class: &str, inputs: Value| json!({"class_type": class, "inputs": inputs});
    let prompt = json!({
        "load": image("LoadImage", json!({"image": "example.png"})),
        "invert": image("ImageInvert", json!({"image": ["load", 0]})),
        "scale": image("ImageScale", json!({"image": ["invert", 0], "upscale_method": "lanczos", "width": 50,
            "height": 30, "crop": "center"})),
        "by": image("ImageScaleBy", json!({"image": ["scale", 0], "upscale_method": "area", "scale_by": 2.0})),
        "total": image("ImageScaleToTotalPixels", json!({"image": ["by", 0], "upscale_method": "bilinear",
            "megapixels": 0.01})),
        "crop": image("ImageCrop", json!({"image": ["total", 0], "width": 32, "height": 32, "x": 4, "y": 2})),
        "blur": image("ImageBlur", json!({"image": ["crop", 0], "blur_radius": 2, "sigma": 1.0})),
        "sharp": image("ImageSharpen", json!({"image": ["blur", 0], "sharpen_radius": 1, "sigma": 1.0, "alpha": 0.5})),
        "blend": image("ImageBlend", json!({"image1": ["sharp", 0], "image2": ["crop", 0], "blend_factor": 0.5,
            "blend_mode": "overlay"})),
        "batch": image("ImageBatch", json!({"image1": ["blend", 0], "image2": ["load", 0]})),
        "quant": image("ImageQuantize", json!({"image": ["batch", 0], "colors": 27, "dither": "none"})),
        "red": image("ImageToMask", json!({"image": ["quant", 0], "channel": "red"})),
        "flip": image("InvertMask", json!({"mask": ["red", 0]})),
        "hard": image("ThresholdMask", json!({"mask": ["flip", 0], "value": 0.4})),
        "soft": image("FeatherMask", json!({"mask": ["hard", 0], "left": 4, "top": 4, "right": 4, "bottom": 4})),
        "file": image("LoadImageMask", json!({"image": "example.png", "channel": "green"})),
        "mix": image("MaskComposite", json!({"destination": ["soft", 0], "source": ["file", 0], "x": 2, "y": 2,
            "operation": "multiply"})),
        "grey": image("MaskToImage", json!({"mask": ["mix", 0]})),
        "over": image("ImageCompositeMasked", json!({"destination": ["quant", 0], "source": ["grey", 0], "x": 0, "y": 0,
            "resize_source": true, "mask": ["mix", 0]})),
        "join": image("JoinImageWithAlpha", json!({"image": ["over", 0], "alpha": ["mix", 0]})),
        "split": image("SplitImageWithAlpha", json!({"image": ["join", 0]})),
        "again": image("JoinImageWithAlpha", json!({"image": ["split", 0], "alpha": ["split", 1]})),
        "pad": image("ImagePadForOutpaint", json!({"image": ["again", 0], "left": 1, "top": 2, "right": 3, "bottom": 4,
            "feathering": 0})),
        "save": image("SaveImage", json!({"images": ["pad", 0], "filename_prefix": "all"})),
    });
    assert_eq!(picture(&server, prompt).await.dimensions(), (36, 38));
}

#[tokio::test]
async fn latents_are_scaled_repeated_and_painted_over_where_the_mask_says() {
    let server = Server::start().await;
    let mut prompt = sampler(1, 2, "base");
    let latent = |class: &str, inputs: Value| json!({"class_type": class, "inputs": inputs});
    prompt["20"] = latent(
        "LatentUpscale",
        json!({"samples": ["3", 0], "upscale_method": "bilinear", "width": 192,
        "height": 96, "crop": "disabled"}),
    );
    prompt["21"] = latent("LatentUpscaleBy", json!({"samples": ["20", 0], "upscale_method": "area", "scale_by": 0.5}));
    prompt["22"] = latent("RepeatLatentBatch", json!({"samples": ["21", 0], "amount": 2}));
    prompt["23"] = latent("SolidMask", json!({"value": 0.0, "width": 96, "height": 48}));
    prompt["24"] = latent("SetLatentNoiseMask", json!({"samples": ["22", 0], "mask": ["23", 0]}));
    prompt["25"] = latent(
        "KSamplerAdvanced",
        json!({"model": ["4", 0], "add_noise": "enable", "noise_seed": 9,
        "steps": 4, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "positive": ["6", 0],
        "negative": ["7", 0], "latent_image": ["24", 0], "start_at_step": 1, "end_at_step": 10000,
        "return_with_leftover_noise": "disable"}),
    );
    prompt["8"] = latent(
        "VAEDecodeTiled",
        json!({"samples": ["25", 0], "vae": ["4", 2], "tile_size": 512,
        "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}),
    );
    let masked = server.run(prompt.clone()).await;
    assert_eq!(masked["outputs"]["9"]["images"].as_array().unwrap().len(), 2);
    let masked = image::load_from_memory(&server.first_picture(&masked).await).unwrap();
    assert_eq!(masked.dimensions(), (96, 48));
    prompt["25"]["inputs"]["noise_seed"] = json!(10);
    assert_eq!(masked, picture(&server, prompt.clone()).await, "an empty mask keeps the base");
    prompt["23"]["inputs"]["value"] = json!(1.0);
    assert_ne!(masked, picture(&server, prompt).await);
}

#[tokio::test]
async fn an_encoded_picture_decodes_to_itself() {
    let server = Server::start().await;
    let prompt = |class: &str, inputs: Value| {
        json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
            "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-random.safetensors"}},
            "2": {"class_type": class, "inputs": inputs},
            "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["4", 2]}},
            "5": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "same"}},
        })
    };
    let example = image::load_from_memory(&server.get("/view?filename=example.png&type=input").await.body).unwrap();
    let encoded = prompt("VAEEncode", json!({"pixels": ["1", 0], "vae": ["4", 2]}));
    assert_eq!(picture(&server, encoded).await.to_rgb8(), example.to_rgb8());
    let inpaint = json!({"pixels": ["1", 0], "vae": ["4", 2], "mask": ["1", 1], "grow_mask_by": 6});
    assert_eq!(picture(&server, prompt("VAEEncodeForInpaint", inpaint)).await.to_rgb8(), example.to_rgb8());
}

#[tokio::test]
async fn a_guided_graph_takes_seed_steps_and_text_from_their_own_nodes() {
    let server = Server::start().await;
    let graph = |seed: u64, text: &str| {
        let mut prompt = sampler(0, 1, text);
        prompt["30"] = json!({"class_type": "RandomNoise", "inputs": {"noise_seed": seed}});
        prompt["31"] = json!({"class_type": "FluxGuidance", "inputs": {"conditioning": ["6", 0], "guidance": 3.5}});
        prompt["32"] = json!({"class_type": "BasicGuider", "inputs": {"model": ["4", 0], "conditioning": ["31", 0]}});
        prompt["33"] = json!({"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}});
        prompt["34"] = json!({"class_type": "BasicScheduler", "inputs": {"model": ["4", 0], "scheduler": "normal",
            "steps": 3, "denoise": 1.0}});
        prompt["3"] = json!({"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["30", 0], "guider": ["32", 0],
            "sampler": ["33", 0], "sigmas": ["34", 0], "latent_image": ["5", 0]}});
        prompt
    };
    let one = picture(&server, graph(1, "a cat")).await;
    assert_ne!(one, picture(&server, graph(2, "a cat")).await);
    assert_ne!(one, picture(&server, graph(1, "a dog")).await);
}

#[tokio::test]
async fn saved_files_carry_prompt_and_workflow_unless_that_is_switched_off() {
    let server = Server::start().await;
    let body = json!({"prompt": small(7), "extra_data": {"extra_pnginfo": {"workflow": {"id": "é"}}}});
    let texts = async |body: &Value| {
        let entry = server.finished(&server.submit(body.clone()).await).await;
        let bytes = server.first_picture(&entry).await;
        let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let texts = &reader.info().uncompressed_latin1_text;
        texts.iter().map(|text| (text.keyword.clone(), text.text.clone())).collect::<Vec<_>>()
    };
    let found = texts(&body).await;
    assert_eq!(found[0].0, "prompt");
    assert_eq!(serde_json::from_str::<Value>(&found[0].1).unwrap(), small(7));
    assert_eq!(found[1], ("workflow".to_owned(), r#"{"id": "\u00e9"}"#.to_owned()));
    server.sim.update(|switches| switches.disable_metadata = true);
    server.post_json("/free", &json!({"free_memory": true})).await;
    assert_eq!(texts(&body).await, []);
}

/// The chunks of a PNG: their names and what they hold.
fn chunks(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut rest, mut chunks) = (&file[8..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        chunks.push((String::from_utf8_lossy(&after[..4]).into_owned(), after[4..4 + length].to_vec()));
        rest = &after[4 + length + 4..];
    }
    chunks
}

#[tokio::test]
async fn animations_carry_them_in_chunks_of_their_own_behind_the_picture() {
    let server = Server::start().await;
    let mut prompt = small(7);
    prompt["2"] = json!({"class_type": "SaveAnimatedPNG", "inputs": {
        "images": ["1", 0], "filename_prefix": "moving", "fps": 6.0, "compress_level": 4
    }});
    let body = json!({"prompt": prompt, "extra_data": {"extra_pnginfo": {"workflow": {"id": 1}}}});
    let entry = server.finished(&server.submit(body).await).await;
    let chunks = chunks(&server.first_picture(&entry).await);
    let names: Vec<&str> = chunks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["IHDR", "IDAT", "comf", "comf", "IEND"]);
    let told = chunks[2].1.strip_prefix(b"prompt\0").unwrap();
    assert_eq!(serde_json::from_slice::<Value>(told).unwrap(), prompt);
    assert_eq!(chunks[3].1, b"workflow\0{\"id\": 1}");
}

#[tokio::test]
async fn files_are_padded_and_still_pictures() {
    let server = Server::switched(|switches| switches.output_bytes = 3_000_000).await;
    let entry = server.run(small(1)).await;
    let bytes = server.first_picture(&entry).await;
    assert!(bytes.len() >= 3_000_000);
    assert_eq!(image::load_from_memory(&bytes).unwrap().dimensions(), (32, 32));
}

#[tokio::test]
async fn the_fast_mode_paints_tiny_pictures_that_still_differ() {
    let server = Server::switched(|switches| switches.fast_render = true).await;
    let one = picture(&server, sampler(1, 2, "a cat")).await;
    assert_eq!(one.dimensions(), (8, 8));
    assert_ne!(one, picture(&server, sampler(2, 2, "a cat")).await);
}
