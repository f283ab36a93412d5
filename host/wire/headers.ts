/** In a call that one host makes of another for a client: the first one's name. The other answers, wherever it thinks that the stream is. */
export const VIA = "hallelujah-via";
/** In an answer that another host gave: where that serves, so that a client can go there itself the next time. */
export const SERVED_BY = "hallelujah-served-by";
/** In every answer of a host that is in a cluster: where some of the others serve, separated by spaces. */
export const HOSTS = "hallelujah-hosts";
