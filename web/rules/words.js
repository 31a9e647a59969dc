// @ts-check
// Every word that the extension shows. A key is "concern.what"; {name} in a text is replaced by a value.

/** @type {Record<string, Record<string, string>>} */
const ENGLISH = {
    lists: {
        foreign: "{file} (another family)",
        absent: "{file} (not on this server)",
    },
    status: {
        asking: "Asking the server …",
        open: "Known when it runs",
        listed: "Connected · {count} models",
        listed_one: "Connected · 1 model",
        named: "Connected · describes no models: a proxy, or an empty models folder",
        unlisted: "Connected · lists no models: type file names, or switch model browsing on in Draw Things",
        late: "No answer yet",
        failed: "The server cannot be reached",
        unasked: "Not asked yet, since it is on the internet: press R, or run",
    },
    recommended: {
        menu: "Recommended settings",
        tooltip: "Sets what Draw Things recommends for the model and the LoRAs that are chosen. Undo takes it back.",
        command: "Draw Things: recommended settings for the selected nodes",
        none_selected: "Select a Generate, Inpaint, Edit Image or Generate Video node first.",
        changed: "Set: {names}.",
        unchanged: "Nothing to change.",
        moved: "The node, its model or its server changed meanwhile: nothing was set. Try again.",
    },
    text: {
        run_to_see: "Run to see",
    },
    servers: {
        tab: "Draw Things",
        tab_tooltip: "Draw Things servers",
        title: "Draw Things servers",
        add: "Add a server",
        none: "No server is saved yet. Add the Draw Things app on a Mac (API Server on, protocol gRPC), or gRPCServerCLI.",
        in_workflow: "In this workflow",
        on_network: "On the network",
        nothing_found: "None has announced itself yet.",
        secrets: "Saved secrets",
        certificates: "Remembered certificates",
        built_in: "Draw Things' built-in certificate",
        secret_allowed: "may go to {addresses}",
        secret_local: "may go to this machine only",
        test: "Test",
        testing: "Testing {address} …",
        edit: "Edit",
        save_this: "Save",
        use: "Use",
        use_tooltip: "Choose this server in the selected Load Server node",
        used: "Load Server uses {name}.",
        use_which: "Select the Load Server node that shall use {name}.",
        forget: "Forget",
        forget_title: "Forget {name}?",
        forget_words: "Workflows that name {name} will not find it any more.",
        forget_secret: "Its secret {name} too",
        forget_certificate: "The remembered certificate of {address} too",
        forget_this_secret: "Servers and workflows that name the secret {name} will not connect any more.",
        forget_this_certificate: "The next certificate that {address} shows is taken for its own.",
        add_title: "Add a Draw Things server",
        edit_title: "Edit {name}",
        test_title: "Test {address}",
        name: "Name",
        name_example: "Studio",
        host: "Address",
        host_example: "my-mac.local or 192.168.1.20",
        port: "Port",
        tls: "TLS",
        tls_auto: "auto: finds out, and remembers the certificate",
        tls_plain: "plain: without TLS",
        tls_system: "system: certificates that this machine trusts",
        tls_ca_file: "CA file: certificates that one file trusts",
        tls_pinned: "pinned: only with the remembered certificate",
        ca_file: "CA file",
        ca_file_example: "path of a PEM file where ComfyUI runs",
        secret: "Shared secret",
        secret_none: "none",
        secret_new: "type a new one",
        secret_typed: "New shared secret",
        secret_note: "Kept in a private file where ComfyUI runs. It is never shown again, and never part of a workflow.",
        cancel: "Cancel",
        close: "Close",
        save: "Save and test",
        saved: "{name} is saved.",
        name_missing: "Type a name, such as Studio.",
        name_taken: "Another saved server has this name.",
        secret_missing: "Type the secret, or choose another.",
        host_missing: "Type the name or IP address of the machine.",
        port_wrong: "A port is a number from 1 to 65535; Draw Things uses 7859.",
        ca_file_missing: "Type the path of a PEM file.",
        failed: "{sentence}",
        answers: "It answers, in {milliseconds} ms.",
        tls_on: "TLS, certificate {fingerprint}",
        tls_built_in: "TLS with Draw Things' built-in certificate {fingerprint}",
        tls_off: "Without TLS: what is sent can be read on the network.",
        secret_not_asked: "It asks for no shared secret.",
        secret_accepted: "It accepts the shared secret.",
        secret_ignored: "A shared secret is saved, but it asks for none.",
        browser_on: "Model browser on. Models: {models}, LoRAs: {loras}, controls: {controls}, textual inversions: {textual_inversions}, upscalers: {upscalers}.",
        browser_names: "Model browser on, {files} files by name only.",
        browser_off: "Model browser off: the nodes cannot list its models; file names have to be typed.",
        not_offered: "It does not know {calls}: an older version, or another program.",
        in_app: "In the app",
        on_command_line: "On the command line",
        certificate_first: "{address} shows this certificate for the first time. Trust it from now on?",
        certificate_built_in: "{address} shows the certificate that is built into Draw Things. Trust it from now on?",
        certificate_changed: "The certificate of {address} has changed. Trust the new one only if you reinstalled or replaced the server.",
        certificate_now: "Now",
        certificate_before: "Before",
        accept: "Trust it and go on",
        secret_stranger: "The workflow wants to send your saved secret {secret} to {address}, where it never went. Is that your server?",
        allow: "It is mine: allow it",
        forget_outlived: "Forget its certificate and go on without TLS",
        menu_test: "Test this server",
        menu_save: "Save this server …",
        command_add: "Draw Things: add a server",
    },
    // What a node does is said by the back end (drawthings_core/stages.py), and translated as "stages.<stage>".
    progress: {
        left: "{doing}, about {left} left",
        taken: "{doing}, {taken}",
        seconds: "{seconds} s",
        minutes_seconds: "{minutes} min {seconds} s",
        minutes: "{minutes} min",
        hours: "{hours} h {minutes} min",
        category: "While it runs",
        previews: "Show preview pictures on running nodes",
        previews_tooltip: "What a picture looks like so far. Without, ComfyUI does not decode the previews that the server sends. Counts from the next run on.",
    },
    errors: {
        unreachable: "ComfyUI does not answer: see whether it still runs.",
        wrong_answer: "ComfyUI answered with status {status} and nothing that can be read: restart it if the nodes were updated.",
        help: "What it means and what to do",
        help_page: "About this node",
        unforeseen: "Something failed that should not; the browser's console has details.",
        no_help: "The help page is not there.",
        close: "Close",
        not_connected: "Nothing is connected to {input}: connect it.",
        not_offered: "{input} does not offer '{value}': choose something from its list.",
        too_small: "{input} is {value}, but at least {least} is needed.",
        too_large: "{input} is {value}, but {most} is the most.",
        other_type: "{input} takes {wanted}, and {given} is connected: connect another output.",
        bad_link: "The link to {input} is damaged: connect it anew.",
        no_whole_number: "{input} needs a whole number, and '{value}' is none.",
        no_number: "{input} needs a number, and '{value}' is none.",
        not_checked: "ComfyUI could not check this node ({message}): its log says where.",
        not_checked_input: "ComfyUI could not check what is connected to {input} ({message}): its log says where.",
        rejected_input: "{input}: {message}.",
    },
    paste: {
        command: "Paste Draw Things configuration",
        menu: "Draw Things",
        done: "Configuration pasted",
        counted: "{node} is set; other nodes: {added} added, {changed} changed",
        failed: "The configuration was not pasted",
        several: "There are several nodes that generate: select the one to paste into.",
        by_hand: "The clipboard cannot be read here. Paste the configuration into this box.",
        take: "Paste into the node",
        cancel: "Cancel",
        picture: "Settings of the picture",
        gone: "The node is not in the graph any more.",
    },
    copy: {
        command: "Copy as Draw Things configuration",
        done: "Configuration copied",
        hint: "In Draw Things: Paste configuration.",
        failed: "The configuration was not copied",
        several: "There are several nodes that generate: select the one to copy from.",
        none: "There is no node that generates: add Generate, Inpaint, Edit Image or Generate Video.",
        silent: "{node} does not run, since it is muted or bypassed: nothing would be sent.",
        by_hand: "The clipboard cannot be written here. Copy the configuration from this box.",
        take: "Copy",
        close: "Close",
    },
}

/** Texts of the language in use, by key; what is missing is said in English. @type {Record<string, string>} */
let translated = {}

/** Its code. */
let language = "en"

/**
 * Say things in another language from now on.
 * @param {Record<string, string>} texts by key
 * @param {string} [code] of the language
 */
export function speak(texts, code = "en") {
    translated = texts
    language = code
}

/** The code of the language in use. */
export const spoken = () => language

/** Names in a row, as the language in use writes them. @param {string[]} names */
export const listed = (names) => new Intl.ListFormat(language, { style: "narrow", type: "conjunction" }).format(names)

/** Every key with its English text, for the translations' tests. */
export function english() {
    return Object.fromEntries(
        Object.entries(ENGLISH).flatMap(([concern, texts]) => Object.entries(texts).map(([what, text]) => [`${concern}.${what}`, text])),
    )
}

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @param {string} [english] what to say when nothing is known here, where the English words are elsewhere
 */
export function say(key, values = {}, english) {
    const [concern, what] = key.split(".")
    const text = translated[key] ?? ENGLISH[concern]?.[what] ?? english
    if (text === undefined) throw new Error(`There are no words for ${key}.`)
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole))
}
