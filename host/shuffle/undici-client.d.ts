// undici's client alone, by `dispatch`: the package's index also loads fetch, WebSocket and caches, 50 ms in every Jah.
declare module "undici/lib/dispatcher/client.js" {
  export { Client as default } from "undici";
}
