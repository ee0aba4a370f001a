// Gives back each line in upper case, until the client ends.
#include "stream_plugin.h"

static const char *const ERRORS[] = {
  "timed out", "connection reset", "broken pipe", "message too large", "not permitted", "other error",
};

// Turns ASCII to upper case in place, and leaves carriage returns out.
static void upper(stream_plugin_list_u8_t *heard) {
  size_t end = 0;
  for (size_t at = 0; at < heard->len; at++) {
    uint8_t byte = heard->ptr[at];
    if (byte == '\r') continue;
    if ('a' <= byte && byte <= 'z') byte -= 'a' - 'A';
    heard->ptr[end++] = byte;
  }
  heard->len = end;
}

// False is a failed session, as the contract's other languages have an error.
static bool failed(wharf_handler_connection_error_code_t *error, stream_plugin_string_t *err) {
  stream_plugin_string_dup(err, ERRORS[error->tag]);
  wharf_handler_connection_error_code_free(error);
  return false;
}

// Runs first. False here ends the session.
bool exports_wharf_handler_stream_handler_setup(stream_plugin_string_t *err) {
  (void)err;
  return true;
}

// The conversation.
bool exports_wharf_handler_stream_handler_handle(stream_plugin_string_t *err) {
  for (;;) {
    stream_plugin_list_u8_t heard;
    wharf_handler_connection_error_code_t error;
    if (!wharf_handler_connection_recv(65536, &heard, &error)) return failed(&error, err);
    // An empty list is end-of-stream, and nothing to free.
    if (heard.len == 0) return true;
    stream_plugin_list_u8_t answer = heard;
    upper(&answer);
    bool sent = wharf_handler_connection_send(&answer, &error);
    stream_plugin_list_u8_free(&heard);
    if (!sent) return failed(&error, err);
  }
}

// Runs last, after a failed `handle` too.
bool exports_wharf_handler_stream_handler_finish(stream_plugin_string_t *err) {
  (void)err;
  return true;
}
