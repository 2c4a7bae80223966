/** The entry of the port proxy. The build puts a loader of its bundle in place of this file (deploy/bundle.mjs). */
import { program } from './program.js';

program(process.argv.slice(2));
