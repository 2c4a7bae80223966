/** After the histories: see bundle.mjs. */
export { removeBundle as default } from './bundle.mjs';
