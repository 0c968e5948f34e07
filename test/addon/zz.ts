import { native } from '../../src/native.js';
import { nativeConfig, nativeEngine } from './lab.js';
let mem: ArrayBuffer; let w: WeakRef<any>;
await (async()=>{ const e=nativeEngine(); mem=e.counters(); new BigUint64Array(mem).fill(7n); w=new WeakRef(e);})();
for(let i=0;i<20;i++){ (globalThis as any).gc(); await new Promise(setImmediate);} console.log(w!.deref()===undefined);
const o=Array.from({length:20},()=>nativeEngine());
console.log(new BigUint64Array(mem!).filter(x=>x!==7n).length, o.length);
