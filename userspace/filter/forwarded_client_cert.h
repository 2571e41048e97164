// The header x-forwarded-client-cert (XFCC): who the client is by its certificate, as Envoy writes it. What a client
// says of itself in that header is believed only where the configuration says so.
#pragma once
#include "filter/hcm_options.h"
#include "http/header_map.h"
#include "stream/stream_info.h"

namespace millrace::filter {

void forward_client_cert(http::HeaderMap& headers, const HcmOptions& options,
                         const stream::ConnectionInfo& connection);

}  // namespace millrace::filter
