// Gives back each line in upper case, until the client ends.
import { recv, send } from 'wharf:handler/connection@0.1.0';

// Turns ASCII to upper case in place, and leaves carriage returns out.
function upper(heard) {
  let end = 0;
  for (let at = 0; at < heard.length; at++) {
    const byte = heard[at];
    if (byte === 13) continue;
    heard[end++] = byte >= 97 && byte <= 122 ? byte - 32 : byte;
  }
  return heard.subarray(0, end);
}

export const streamHandler = {
  // Runs first. What is thrown here ends the session.
  setup() {},

  // The conversation.
  handle() {
    try {
      for (let heard = recv(65536); heard.length > 0; heard = recv(65536)) {
        send(upper(heard));
      }
    } catch (error) {
      // What recv and send throw carries one of the contract's error codes; what a handler throws has to be a text.
      throw error.payload?.tag ?? String(error);
    }
  },

  // Runs last, after a failed `handle` too.
  finish() {},
};
