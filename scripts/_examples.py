"""The example workflows, each a function that lays its nodes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from _sheets import Sheet

SD = "sd_v1.5_f16.ckpt"
SD_INPAINT = "sd_v1.5_inpainting_f16.ckpt"
SDXL = "sd_xl_base_1.0_f16.ckpt"
FLUX = "flux_1_dev_q8p.ckpt"
LANDSCAPE = "landscape.png"
SAVED_PICTURE = "saved_with_settings.png"
SAVED = {
    "model": SDXL,
    "prompt": "a lighthouse on a rock, a red boat below, stormy sky, gouache",
    "negative_prompt": "people, text",
    "seed": 1515,
    "width": 768,
    "height": 512,
    "steps": 22,
    "guidance": 6.5,
}
"""What Generate made `SAVED_PICTURE` from."""

CONNECT = "Start the API server in Draw Things (protocol gRPC), or gRPCServerCLI, and set its address in **Load Server**."
CHOOSE = "The lists then hold your server's files: choose a model that it has, and run."

COPY = "Copy what is in this package's *example_workflows/input* into ComfyUI's *input* folder, or choose pictures of your own."
"""For those that load pictures."""

_makers: dict[str, Callable[[], Sheet]] = {}


def example(choose: str = CHOOSE) -> Callable[[Callable[[Sheet], None]], Callable[[Sheet], None]]:
    """The function lays out an example of its own name, whose note is its docstring: what it does, how to connect a server, then the
    rest. choose: the last step of connecting.
    """

    def registered(lay_out: Callable[[Sheet], None]) -> Callable[[Sheet], None]:
        what, *more = (paragraph.replace("\n", " ") for paragraph in inspect.cleandoc(lay_out.__doc__ or "").split("\n\n"))

        def laid_out(*steps: str) -> Sheet:
            numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
            sheet = Sheet(lay_out.__name__, "\n\n".join((what, numbered, *more)))
            lay_out(sheet)
            return sheet

        def made() -> Sheet:
            sheet = laid_out(CONNECT, choose)
            return laid_out(CONNECT, COPY, choose) if sheet.loads_pictures else sheet

        _makers[lay_out.__name__] = made
        return lay_out

    return registered


def sheets() -> list[Sheet]:
    """Every example, laid out anew."""
    return [made() for made in _makers.values()]


@example()
def text_to_image(sheet: Sheet) -> None:
    """Makes a picture from text.

    Sizes, steps and guidance of 0 or -1 are the model's own.
    """
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="a small house in a meadow at sunrise, hills in the mist, watercolour",
        negative_prompt="text, frame",
        seed=1001,
        width=768,
        height=512,
        steps=20,
    )
    sheet.save(generated)


@example()
def image_to_image(sheet: Sheet) -> None:
    """Makes a new picture from an old one.

    **strength** says how much may change: 0.3 keeps most of it, 0.8 little. The size follows the image.
    """
    sheet.server()
    image = sheet.add("LoadImage", "Image to start from", image=LANDSCAPE)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="the same landscape in deep winter, snow on the roof, evening light",
        negative_prompt="people",
        seed=2002,
        width=768,
        height=512,
        steps=24,
        strength=0.6,
        image=image,
    )
    sheet.save(generated)


@example()
def inpaint(sheet: Sheet) -> None:
    """Repaints the white part of the mask and keeps the rest.

    To draw a mask of your own, right-click **Image to repair**, open the mask editor, and connect its MASK output instead.
    """
    sheet.column()
    sheet.server()
    image = sheet.add("LoadImage", "Image to repair", image=LANDSCAPE)
    mask = sheet.add("LoadImageMask", "Mask: white is repainted", image="landscape_house_mask.png", channel="red")
    sheet.column(room=110)
    generated = sheet.add(
        "DrawThingsInpaint",
        model=SD_INPAINT,
        prompt="an old windmill with white sails",
        negative_prompt="blurry",
        seed=3003,
        width=768,
        height=512,
        steps=24,
        image=image,
        mask=mask,
    )
    sheet.group("What to repaint", image, mask)
    sheet.save(generated)


@example()
def controlnet_hint(sheet: Sheet) -> None:
    """Makes a picture that follows a depth map.

    The ControlNet must be made for the model's family: both are for Stable Diffusion 1.5 here.
    """
    depth = sheet.add("LoadImage", "Depth map: near is bright", image="landscape_depth.png")
    sheet.column()
    sheet.server()
    hint = sheet.add(
        "DrawThingsControlNetHint",
        hint_type="Depth",
        control="controlnet_depth_1.x_v1.1_f16.ckpt",
        weight=0.9,
        start=0.0,
        end=0.8,
        image=depth,
    )
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SD,
        prompt="a castle on a green hill, two old oaks, summer, oil painting",
        negative_prompt="modern",
        seed=4004,
        width=768,
        height=512,
        steps=24,
        hints=hint,
    )
    sheet.save(generated)


@example()
def controlnet_canny(sheet: Sheet) -> None:
    """Makes a new picture along the edges of another.

    The server finds the edges itself, so **ControlNet Hint** has no image of its own: the control follows the image of **Generate**. At
    strength 1 nothing else of that image is kept.
    """
    image = sheet.add("LoadImage", "Image whose edges count", image=LANDSCAPE)
    sheet.column()
    sheet.server()
    hint = sheet.add(
        "DrawThingsControlNetHint",
        "ControlNet Hint (Draw Things): edges of the image",
        hint_type="Canny",
        control="controlnet_canny_1.x_v1.1_f16.ckpt",
        weight=0.9,
    )
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SD,
        prompt="a cottage of gingerbread under a candy sun, icing on the roof",
        negative_prompt="people",
        seed=1515,
        width=768,
        height=512,
        steps=24,
        strength=1.0,
        image=image,
        hints=hint,
    )
    sheet.save(generated)


@example()
def pose_high_resolution(sheet: Sheet) -> None:
    """Makes a person in a given pose, in two passes.

    A pose is a drawn skeleton on black. A server does not scale it, so it is sent once for each pass of the high-resolution fix, at the
    size of that pass.
    """
    pose = sheet.add("LoadImage", "Pose", image="dancer_pose.png")
    sheet.column()
    hint = sheet.add(
        "DrawThingsControlNetHint", hint_type="Pose", control="controlnet_openpose_sdxl_v1.0_f16.ckpt", weight=0.85, image=pose
    )
    passes = sheet.add("DrawThingsHiresFixOptions", hires_fix_width=384, hires_fix_height=512, hires_fix_strength=0.6)
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="a dancer in a red coat on a rooftop, dusk, wind",
        negative_prompt="crowd",
        seed=1616,
        width=768,
        height=1024,
        steps=24,
        hints=hint,
        options=passes,
    )
    sheet.save(generated)


@example()
def controlnet_union(sheet: Sheet) -> None:
    """Two kinds of map through one union control.

    A union control follows many kinds of map and is told which by the **hint type**. The second hint has no image of its own: it
    follows the tiles of the image that **Generate** starts from.
    """
    depth = sheet.add("LoadImage", "Depth map: near is bright", image="landscape_depth.png")
    image = sheet.add("LoadImage", "Image to start from", image=LANDSCAPE)
    sheet.column()
    first = sheet.add(
        "DrawThingsControlNetHint",
        "ControlNet Hint (Draw Things): depth map",
        hint_type="Depth",
        control="controlnet_union_promax_sdxl_v1.0_f16.ckpt",
        weight=0.7,
        end=0.8,
        image=depth,
    )
    both = sheet.add(
        "DrawThingsControlNetHint",
        "ControlNet Hint (Draw Things): tiles of the image",
        hint_type="Tile",
        control="controlnet_union_promax_sdxl_v1.0_f16.ckpt",
        weight=0.4,
        start=0.2,
        down_sampling_rate=2.0,
        hints=first,
    )
    sheet.column()
    sheet.server()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="a farmhouse at harvest time, hay bales, warm evening light, photo",
        negative_prompt="drawing",
        seed=1717,
        width=768,
        height=512,
        steps=24,
        strength=0.8,
        image=image,
        hints=both,
    )
    sheet.group("Maps", first, both)
    sheet.save(generated)


@example()
def prompt_words(sheet: Sheet) -> None:
    """Adds the words that LoRAs and textual inversions want to see in a prompt.

    **Trigger Words** looks up what the chosen LoRAs and the model are triggered by, and puts it before the prompt. **Textual
    Inversion** writes a keyword; it acts where the Draw Things app is the server.
    """
    sheet.column()
    sheet.server()
    loras = sheet.add(
        "DrawThingsLoRAStack", lora_1="moxin_v1_lora_f16.ckpt", weight_1=0.8, lora_2="add_detail_v1.5_lora_f16.ckpt", weight_2=0.5
    )
    sheet.column()
    triggered = sheet.add("DrawThingsTriggerWords", text="a heron in the reeds, morning mist", model="none", loras=loras)
    worse = sheet.add("DrawThingsTextualInversion", inversion="easynegative_ti_f16.ckpt", text="photo, frame", weight=0.8)
    sheet.add("PreviewAny", "What each file wants", source=triggered[2])
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate", model=SD, seed=1818, width=768, height=512, steps=20, loras=loras, prompt=triggered, negative_prompt=worse
    )
    sheet.save(generated)


@example()
def moodboard(sheet: Sheet) -> None:
    """Makes a picture in the mood of two others.

    An IP-Adapter reads them. The second **Moodboard** only adds its picture, so its control is none; instruction models (FLUX.2, Qwen
    Image Edit) need no control at all.
    """
    sheet.column()
    first = sheet.add("LoadImage", "Reference 1", image="moodboard_autumn.png")
    second = sheet.add("LoadImage", "Reference 2", image="moodboard_tiles.png")
    sheet.column()
    sheet.server()
    adapter = sheet.add(
        "DrawThingsMoodboard",
        "Moodboard (Draw Things): picture 1",
        control="ip_adapter_plus_xl_base_open_clip_h14_f16.ckpt",
        control_weight=0.8,
        images=first,
    )
    both = sheet.add(
        "DrawThingsMoodboard", "Moodboard (Draw Things): picture 2", control="none", weight_1=0.6, images=second, hints=adapter
    )
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="a teapot and two cups on a table by the window",
        negative_prompt="hands",
        seed=5005,
        width=768,
        height=768,
        steps=24,
        hints=both,
    )
    sheet.group("References", first, second)
    sheet.save(generated)


@example()
def lora_stack(sheet: Sheet) -> None:
    """Makes a picture with two LoRAs.

    LoRAs must be made for the model's family. Slots set to none are left out.
    """
    sheet.column()
    sheet.server()
    loras = sheet.add(
        "DrawThingsLoRAStack", lora_1="flux_1_watercolor_lora_f16.ckpt", weight_1=0.8, lora_2="flux_1_realism_lora_f16.ckpt", weight_2=0.4
    )
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=FLUX,
        prompt="a fishing boat in a quiet harbour, morning, loose brush strokes",
        seed=6006,
        width=768,
        height=512,
        steps=20,
        loras=loras,
    )
    sheet.save(generated)


@example()
def high_resolution(sheet: Sheet) -> None:
    """Makes a picture in two passes, then enlarges it twofold.

    Option nodes chain: each lays its settings over those before it, and all of them win over the widgets of **Generate**. **Tiling**
    decodes large pictures piece by piece, so that memory lasts.
    """
    sheet.column()
    passes = sheet.add("DrawThingsHiresFixOptions", hires_fix_width=512, hires_fix_height=384, hires_fix_strength=0.6)
    enlarged = sheet.add("DrawThingsUpscalerOptions", upscaler="realesrgan_x2plus_f16.ckpt", options=passes)
    tiled = sheet.add("DrawThingsTilingOptions", tiled_decoding=True, decoding_tile_width=512, options=enlarged)
    sampled = sheet.add("DrawThingsSamplingOptions", sharpness=2.0, options=tiled)
    sheet.column()
    sheet.server()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="a mountain village above a lake, slate roofs, first snow, evening",
        negative_prompt="fog",
        seed=7007,
        width=1024,
        height=768,
        steps=20,
        options=sampled,
    )
    sheet.group("Options", passes, enlarged, tiled, sampled)
    sheet.save(generated)


@example()
def sdxl_refiner(sheet: Sheet) -> None:
    """Makes a picture with Stable Diffusion XL and its refiner.

    The refiner takes over for the last fifth of the steps. **SDXL Options** are the sizes that the model is told, not those of the
    picture.
    """
    sheet.column()
    refined = sheet.add("DrawThingsRefinerOptions", refiner_model="sd_xl_refiner_1.0_f16.ckpt", refiner_start=0.8)
    told = sheet.add(
        "DrawThingsSDXLOptions",
        original_image_width=1024,
        original_image_height=1024,
        target_image_width=1024,
        target_image_height=1024,
        options=refined,
    )
    encoded = sheet.add("DrawThingsTextEncodersOptions", clip_skip=2, options=told)
    sheet.column()
    sheet.server()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="portrait of an old lighthouse keeper, wool cap, kind eyes",
        negative_prompt="hat with a logo",
        seed=8008,
        width=768,
        height=768,
        steps=25,
        options=encoded,
    )
    sheet.group("Options", refined, told, encoded)
    sheet.save(generated)


@example()
def flux_tea_cache(sheet: Sheet) -> None:
    """Makes a picture with FLUX.1 faster, and with real guidance.

    **TeaCache** skips steps that change little. With the speed-up off, FLUX.1 runs with guidance and reads the negative prompt, at
    twice the time; **CFG Zero*** corrects that guidance.
    """
    sheet.column()
    cached = sheet.add("DrawThingsTeaCacheOptions")
    guided = sheet.add("DrawThingsGuidanceOptions", speed_up_with_guidance_embed="off", guidance_embed=3.5, options=cached)
    corrected = sheet.add("DrawThingsCFGZeroOptions", cfg_zero_init_steps=1, options=guided)
    sheet.column()
    sheet.server()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=FLUX,
        prompt="a glass greenhouse at night, lit from inside, ferns, light rain",
        negative_prompt="people",
        seed=9009,
        width=768,
        height=512,
        steps=20,
        guidance=2.0,
        options=corrected,
    )
    sheet.group("Options", cached, guided, corrected)
    sheet.save(generated)


@example()
def stable_cascade(sheet: Sheet) -> None:
    """Makes a picture with Stable Cascade.

    **Generate** has the settings of the first stage, the options those of the second. Both stages must be on the server.
    """
    sheet.column()
    second = sheet.add("DrawThingsStableCascadeOptions", stage_2_steps=12, stage_2_guidance=1.1)
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model="wurstchen_3.0_stage_c_f32_f16.ckpt",
        prompt="a paper boat on a puddle, reflections of a red umbrella",
        negative_prompt="blurry",
        seed=1010,
        width=768,
        height=512,
        steps=20,
        guidance=4.0,
        options=second,
    )
    sheet.save(generated)


@example()
def kandinsky(sheet: Sheet) -> None:
    """Makes a picture with Kandinsky 2.1.

    Its prior turns the text into an image embedding first, in steps of its own.
    """
    sheet.column()
    prior = sheet.add("DrawThingsKandinskyOptions", image_prior_steps=10)
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model="kandinsky_f16.ckpt",
        prompt="a fox made of autumn leaves, poster",
        negative_prompt="text",
        seed=1111,
        width=768,
        height=512,
        steps=25,
        options=prior,
    )
    sheet.save(generated)


@example()
def inpaint_seam(sheet: Sheet) -> None:
    """Repaints a part of an image with a soft seam and matching colours.

    The outset lets the repainted part grow beyond the mask; the blur softens the seam where the kept pixels are pasted back. Colour
    calibration brings the colours of the result to those of the image.
    """
    sheet.column()
    image = sheet.add("LoadImage", "Image to repair", image=LANDSCAPE)
    mask = sheet.add("LoadImageMask", "Mask: white is repainted", image="landscape_house_mask.png", channel="red")
    sheet.column()
    seam = sheet.add("DrawThingsInpaintOptions", mask_blur=4.0, mask_blur_outset=12)
    coloured = sheet.add("DrawThingsOutputOptions", color_calibration="Lab", options=seam)
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsInpaint",
        model=SD_INPAINT,
        prompt="a round stone tower with a copper roof",
        negative_prompt="blurry",
        seed=1212,
        width=768,
        height=512,
        steps=24,
        image=image,
        mask=mask,
        options=coloured,
    )
    sheet.group("What to repaint", image, mask)
    sheet.save(generated)


COPIED = """{
  "width": 768,
  "height": 512,
  "seed": 1313,
  "steps": 18,
  "guidanceScale": 6.5,
  "sampler": 15,
  "seedMode": 2,
  "clipSkip": 2,
  "sharpness": 1.5,
  "loras": [{"file": "pixel_art_xl_v1.1_lora_f16.ckpt", "weight": 0.8, "mode": "all"}]
}"""


@example()
def options_from_json(sheet: Sheet) -> None:
    """Uses a configuration that was copied in Draw Things.

    In the app, copy the configuration from the menu of the settings and paste it over the text. What it names wins over the widgets of
    **Generate**; the switches leave model, size or seed to them. **Options to JSON** gives back what was sent, to be pasted in the app.
    """
    sheet.column()
    read = sheet.add("DrawThingsOptionsFromJSON", json=COPIED)
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate", model=SDXL, prompt="a knight and a small dragon share an umbrella", negative_prompt="photo", options=read
    )
    sheet.save(generated)
    written = sheet.add("DrawThingsOptionsToJSON", info=generated[2])
    sheet.column()
    sheet.add("PreviewAny", "For Draw Things: copy this", wide=420, source=written)
    sheet.add("PreviewAny", "Notes of the reader", wide=420, source=read[1])


@example()
def recommended_settings(sheet: Sheet) -> None:
    """Uses what Draw Things recommends for a model, and a LoRA that makes it fast.

    Choose the same model in both nodes. Without the LoRA the recommendation is another: many steps, guidance, and a negative prompt.
    Width, height and negative prompt are outputs, so that other nodes can use them too.
    """
    sheet.column()
    sheet.server()
    loras = sheet.add("DrawThingsLoRAStack", lora_1="qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt", weight_1=1.0)
    sheet.column()
    advice = sheet.add("DrawThingsRecommendedSettings", model="qwen_image_2512_q8p.ckpt", loras=loras)
    sheet.add("PreviewAny", "Where it comes from", source=advice[4])
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model="qwen_image_2512_q8p.ckpt",
        prompt="a market stall with oranges and a hand-written sign",
        seed=1414,
        loras=loras,
        options=advice,
        width=advice[1],
        height=advice[2],
        negative_prompt=advice[3],
    )
    sheet.save(generated)


@example()
def save_with_settings(sheet: Sheet) -> None:
    """Saves pictures from which both ComfyUI and Draw Things restore how they were made.

    Drop the PNG on ComfyUI's page and this graph is back; import it in Draw Things, or load it with **Load Draw Things Image**, and
    prompt, seed and settings are. Each picture of the batch has its own seed in its file.
    """
    sheet.server()
    sheet.column()
    generated = sheet.add("DrawThingsGenerate", **SAVED, batch_size=2)
    sheet.column()
    sheet.add("DrawThingsSaveImage", filename_prefix=sheet.name, images=generated, info=generated[2])


@example()
def load_with_settings(sheet: Sheet) -> None:
    """Makes a picture again from the settings in its file.

    Choose a PNG that Draw Things or **Save Image (Draw Things)** wrote. Its settings win over the widgets of **Generate**; here the
    model is left to Generate (take_model is off), since yours may be another. Change the prompt or switch take_seed off for a
    variation. saved_with_settings.png is in the folder of the examples' pictures.
    """
    sheet.column()
    sheet.server()
    restored = sheet.add("DrawThingsLoadImage", image=SAVED_PICTURE, take_model=False)
    sheet.add("PreviewAny", "What could not be read", source=restored[5])
    sheet.column()
    generated = sheet.add("DrawThingsGenerate", model=SAVED["model"], options=restored[4], prompt=restored[2], negative_prompt=restored[3])
    sheet.column()
    sheet.add("DrawThingsSaveImage", filename_prefix=sheet.name, images=generated, info=generated[2])


@example()
def outpaint(sheet: Sheet) -> None:
    """Widens a picture: keeps it, and generates what lies left and right of it.

    **fit** is *outpaint*, and width and height have other proportions than the image, so that it leaves borders. What is transparent in
    an image is generated likewise. To repaint something inside it as well, use **Inpaint** with the same fit.
    """
    sheet.server()
    image = sheet.add("LoadImage", "Image to widen", image=LANDSCAPE)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="a small house in a wide valley, hills in the mist, watercolour",
        negative_prompt="frame, border",
        seed=3103,
        width=1152,
        height=512,
        steps=24,
        fit="outpaint",
        image=image,
    )
    sheet.save(generated)


@example()
def text_to_video(sheet: Sheet) -> None:
    """Makes a video from text with Wan 2.2.

    Its two experts share the work: the refiner takes over from the model. Frames and size are small here, so that it is quick: 0 takes
    what Wan is made for, 81 frames of 832x448. Wan makes 4k+1 frames. Connect **audio** only for models that make sound.
    """
    sheet.column()
    experts = sheet.add("DrawThingsRefinerOptions", refiner_model="wan_v2.2_a14b_lne_t2v_q8p.ckpt", refiner_start=0.125)
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsVideo",
        model="wan_v2.2_a14b_hne_t2v_q8p.ckpt",
        prompt="a sailing boat glides over a calm lake at dawn, mist drifts between the hills, slow camera",
        negative_prompt="shaking, text",
        seed=1515,
        width=512,
        height=320,
        num_frames=17,
        steps=12,
        options=experts,
    )
    sheet.save_video(generated)


@example()
def image_to_video(sheet: Sheet) -> None:
    """Makes a video that begins with a picture, with Stable Video Diffusion.

    **Motion scale** says how much moves. It needs no prompt. Other models that start from a picture: Wan I2V and LTX, which also
    continue from several frames in one batch. With a strength below 1 the picture itself is changed.
    """
    sheet.column()
    frames = sheet.add("DrawThingsVideoOptions", num_frames=14)
    motion = sheet.add("DrawThingsSVDOptions", fps=7, motion_scale=160, guiding_frame_noise=0.02, options=frames)
    sheet.column()
    image = sheet.add("LoadImage", "First frame", image=LANDSCAPE)
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsVideo", model="svd_i2v_xt_1.1_f16.ckpt", seed=1616, width=512, height=320, steps=12, image=image, options=motion
    )
    sheet.group("Options", frames, motion)
    sheet.save_video(generated)


@example()
def video_with_sound(sheet: Sheet) -> None:
    """Makes a video with its sound, with LTX-2.3.

    Write into the prompt what is to be heard, too. LTX makes 8k+1 frames; 0 frames and sizes of 0 take what it is made for, 121 frames
    of 1280x768. To begin with a picture, connect it to **image**. **Save Audio** keeps the sound alone.
    """
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsVideo",
        model="ltx_2.3_22b_distilled_1.1_q8p.ckpt",
        prompt="a steam train crosses a stone bridge in the evening sun; its whistle echoes, wheels clatter over the rails",
        seed=1717,
        width=512,
        height=320,
        num_frames=25,
    )
    sheet.save_video(generated, sound=True)
    sheet.column()
    sheet.add("SaveAudio", filename_prefix=f"{sheet.name}_alone", audio=generated[1])
    sheet.add("PreviewAny", "What was sent, and notes", source=generated[3])


@example()
def long_video(sheet: Sheet) -> None:
    """Makes a video chunk by chunk with Wan 2.1.

    With **Causal inference** each chunk, here of 3 latent frames (12 frames of the video), sees only what came before. To go on after
    the end, connect the last frames, as one batch, to **image** of another Generate Video with a Wan I2V or LTX model.
    """
    sheet.column()
    chunks = sheet.add("DrawThingsCausalInferenceOptions", causal_inference=3)
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsVideo",
        model="wan_v2.1_1.3b_480p_f16.ckpt",
        prompt="a walk along a beach, waves roll in, gulls cross the sky",
        negative_prompt="people",
        seed=1818,
        width=384,
        height=256,
        num_frames=33,
        steps=10,
        options=chunks,
    )
    sheet.save_video(generated)


@example()
def edit_image(sheet: Sheet) -> None:
    """Changes a picture as an instruction says.

    For instruction models: FLUX.1 Kontext, Qwen Image Edit, FLUX.2. The size follows the image. At **strength** 1 the model sees the
    image all the same; below 1 the new picture also begins from it.
    """
    sheet.server()
    image = sheet.add("LoadImage", "Image to change", image=LANDSCAPE)
    sheet.column()
    edited = sheet.add(
        "DrawThingsEdit",
        model="flux_1_kontext_dev_q8p.ckpt",
        instruction="Make it night: a full moon instead of the sun, light in the windows. Keep everything else.",
        seed=1515,
        steps=20,
        image=image,
    )
    sheet.save(edited)


@example()
def edit_references(sheet: Sheet) -> None:
    """Changes a picture with the help of others.

    The instruction names pictures by their number: **image** is picture 1, **image_2** picture 2. They keep their own size, and a batch
    is several pictures. FLUX.2, FLUX.1 Kontext and Qwen Image Edit read several.
    """
    sheet.column()
    first = sheet.add("LoadImage", "Picture 1: the one to change", image=LANDSCAPE)
    second = sheet.add("LoadImage", "Picture 2", image="moodboard_autumn.png")
    third = sheet.add("LoadImage", "Picture 3", image="moodboard_tiles.png")
    sheet.column()
    sheet.server()
    loras = sheet.add("DrawThingsLoRAStack", lora_1="qwen_image_edit_2511_lightning_4_step_v1.0_lora_f16.ckpt", weight_1=1.0)
    sheet.column()
    edited = sheet.add(
        "DrawThingsEdit",
        model="qwen_image_edit_2511_q6p.ckpt",
        instruction="Give the trees the colours of picture 2 and cover the wall of the house with the tiles of picture 3.",
        seed=1616,
        image=first,
        image_2=second,
        image_3=third,
        loras=loras,
    )
    sheet.group("Pictures", first, second, third)
    sheet.save(edited)


@example()
def layers(sheet: Sheet) -> None:
    """Takes a picture apart into layers with transparency.

    The **batch size** is the number of layers. They come as a batch; the mask says where each is transparent, and joined with it each
    is saved as a PNG with alpha.
    """
    sheet.server()
    image = sheet.add("LoadImage", "Image to take apart", image=LANDSCAPE)
    sheet.column()
    edited = sheet.add(
        "DrawThingsEdit",
        model="qwen_image_layered_1.0_q8p.ckpt",
        instruction="a house in a meadow, trees, hills, a sunny sky",
        seed=1717,
        steps=30,
        batch_size=4,
        image=image,
    )
    sheet.column()
    joined = sheet.add("JoinImageWithAlpha", image=edited, alpha=edited[1])
    sheet.save(joined)


@example(choose="Run.")
def server_info(sheet: Sheet) -> None:
    """Shows what your server is and has.

    **Server Info** shows the connection, TLS, whether the secret was accepted, and every model, LoRA, control, textual inversion and
    upscaler with its family. The lists in the nodes hold these files.
    """
    sheet.column()
    sheet.server()
    sheet.column()
    info = sheet.add("DrawThingsServerInfo")
    sheet.column()
    sheet.add("PreviewAny", "The same for programs", wide=420, source=info[1])


@example(choose="Choose a file in **Upload Model**, and run.")
def upload_model(sheet: Sheet) -> None:
    """Puts a model file into your server's models folder.

    The file is one that Draw Things made (.ckpt): in one of ComfyUI's model folders, or in the uploads folder, which is
    .drawthings-comfyui/uploads in your home folder unless DRAWTHINGS_UPLOADS names another. What the server has already is not sent
    again. **Files Exist** then has the server hash what arrived.
    """
    sheet.column()
    sheet.server()
    sheet.column()
    uploaded = sheet.add("DrawThingsUploadModel")
    sheet.column()
    sheet.add("DrawThingsFilesExist", "Is it there, and whole?", hashes=True, server=uploaded, files=uploaded[1])


@example()
def upscale(sheet: Sheet) -> None:
    """Enlarges a picture with an upscaler.

    Nothing is generated, yet a server wants a **model**: any that it has. **Scale** 0 is the upscaler's own factor. Choose a face
    restoration model to restore faces as well, or alone.
    """
    sheet.server()
    image = sheet.add("LoadImage", "Image to enlarge", image=LANDSCAPE)
    sheet.column()
    enlarged = sheet.add("DrawThingsUpscale", model=SD, upscaler="realesrgan_x2plus_f16.ckpt", image=image)
    sheet.save(enlarged)


@example()
def seedvr2_upscale(sheet: Sheet) -> None:
    """Restores and enlarges a picture with SeedVR2.

    The model itself enlarges, at any **scale**: no upscaler is needed. **Tiling Options** keep the memory small that large pictures
    take.
    """
    sheet.column()
    image = sheet.add("LoadImage", "Image to restore", image=LANDSCAPE)
    sheet.column()
    tiled = sheet.add("DrawThingsTilingOptions", tiled_decoding=True)
    sheet.server()
    sheet.column()
    enlarged = sheet.add("DrawThingsUpscale", model="seedvr2_3b_q8p.ckpt", scale=1.75, seed=1818, image=image, options=tiled)
    sheet.save(enlarged)


@example()
def server_pool(sheet: Sheet) -> None:
    """Makes pictures on two servers at once.

    **Server Pool** makes them one: each takes the next picture when it is free, and the pictures are those that a single server would
    make. Both need the model. Here both are the same server until you set another address.
    """
    sheet.column()
    first = sheet.server()
    second = sheet.server()
    sheet.column()
    pool = sheet.add("DrawThingsServerPool", server_1=first, server_2=second)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="a kingfisher on a reed above a still pond, morning mist",
        seed=4100,
        batch_count=4,
        server=pool,
    )
    sheet.save(generated)


@example()
def transparent_picture(sheet: Sheet) -> None:
    """Makes a picture without a background.

    A LoRA with a **transparent decoder** gives the pictures an alpha channel: **MASK** says where they are transparent, and joined with it each
    is saved as a PNG with alpha. The LoRA must be made for the model's family.
    """
    sheet.column()
    sheet.server()
    loras = sheet.add("DrawThingsLoRAStack", lora_1="layer_diffusion_sd_xl_base_1.0_lora_f16.ckpt", weight_1=1.0)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SDXL,
        prompt="a potted fern in a blue glazed bowl, studio photo",
        negative_prompt="shadow",
        seed=1919,
        width=768,
        height=512,
        steps=24,
        loras=loras,
    )
    sheet.column()
    joined = sheet.add("JoinImageWithAlpha", image=generated, alpha=generated[1])
    sheet.save(joined)


@example()
def face_restoration(sheet: Sheet) -> None:
    """Makes a group portrait and restores the faces in it.

    Small faces come out of a model blurred: a **face restoration** model draws them anew before the upscaler enlarges the picture. Both are done
    by the server after the last step; one on Linux leaves the faces as they are. For a picture that you have already, use **Upscale**.
    """
    sheet.column()
    restored = sheet.add("DrawThingsUpscalerOptions", upscaler="realesrgan_x2plus_f16.ckpt", face_restoration="restoreformer_v1.0_f16.ckpt")
    sheet.server()
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        model=SD,
        prompt="a choir of twelve in a village church, evening light, photo",
        negative_prompt="drawing",
        seed=2020,
        width=768,
        height=512,
        steps=24,
        options=restored,
    )
    sheet.save(generated)
