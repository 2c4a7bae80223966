/** The entry of the command helper. The build puts a loader of its bundle in place of this file (deploy/bundle.mjs). */
import { program } from './program.js';

await program();
