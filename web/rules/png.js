// @ts-check
// What a PNG file says of how it was made, by its chunks.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10]
const FRAME = new Set(["IHDR", "IEND"])
const EXIF = "eXIf"
const TEXTS = new Set(["tEXt", "iTXt", "zTXt"])
/** Keywords under which ComfyUI writes its workflows. */
const WORKFLOWS = new Set(["workflow", "prompt"])
const XMP = "XML:com.adobe.xmp"
const COMMENT = "UserComment"

/**
 * workflow: ComfyUI can open it. settings: it has a comment that may be Draw Things' own. bytes: the file with
 * nothing but that comment, which can be a small part of it.
 * null for what is no PNG.
 * @param {Uint8Array<ArrayBuffer>} file
 * @returns {{workflow: boolean, settings: boolean, bytes: Uint8Array<ArrayBuffer>} | null}
 */
export function described(file) {
    if (!SIGNATURE.every((byte, index) => file[index] === byte)) return null
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
    const kept = [file.subarray(0, SIGNATURE.length)]
    let workflow = false
    let settings = false
    for (let at = SIGNATURE.length; at + 12 <= file.length; ) {
        const length = view.getUint32(at)
        const type = latin(file.subarray(at + 4, at + 8))
        const data = file.subarray(at + 8, at + 8 + length)
        let keeps = FRAME.has(type) || type === EXIF
        if (TEXTS.has(type)) {
            const keyword = latin(data.subarray(0, Math.max(0, data.indexOf(0))))
            workflow ||= WORKFLOWS.has(keyword)
            // A packet that is compressed is looked into by our route.
            keeps = keyword === XMP
            settings ||= keeps && (data[keyword.length + 1] === 1 || latin(data).includes(COMMENT))
        }
        settings ||= type === EXIF
        if (keeps) kept.push(file.subarray(at, at + 12 + length))
        at += 12 + length
    }
    return { workflow, settings, bytes: joined(kept) }
}

/** @param {Uint8Array} bytes */
function latin(bytes) {
    return new TextDecoder("latin1").decode(bytes)
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
        whole.set(part, at)
        at += part.length
    }
    return whole
}

/**
 * Base64, a part at a time: a call takes only so many arguments.
 * @param {Uint8Array} bytes
 */
export function base64(bytes) {
    const PART = 0x8000
    let text = ""
    for (let at = 0; at < bytes.length; at += PART) text += String.fromCharCode(...bytes.subarray(at, at + PART))
    return btoa(text)
}
