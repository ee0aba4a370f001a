// Makes a plugin of the compiled module: exports by the contract's names, which are no identifiers, and the contract's type,
// from the object file that `wit-bindgen c` makes.
import { readFileSync } from 'node:fs';
import { Transform } from 'assemblyscript/transform';

const STEPS = ['setup', 'handle', 'finish'];
const TYPE = 'component-type:stream-plugin';

export default class extends Transform {
  afterCompile(module) {
    for (const step of STEPS) {
      module.removeExport(step);
      module.addFunctionExport(`handler/${step}`, `wharf:handler/stream-handler@0.1.0#${step}`);
    }
    const object = readFileSync(new URL('stream_plugin_component_type.o', import.meta.url));
    const [type] = WebAssembly.Module.customSections(new WebAssembly.Module(object), TYPE);
    module.addCustomSection(TYPE, new Uint8Array(type));
  }
}
