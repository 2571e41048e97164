#include "stream/grpc_status.h"

#include <gtest/gtest.h>

namespace millrace::stream {
namespace {

TEST(GrpcStatus, IsMappedFromAndToHttp) {
  EXPECT_EQ(grpc_status_of_http(400), 13);
  EXPECT_EQ(grpc_status_of_http(401), 16);
  EXPECT_EQ(grpc_status_of_http(403), 7);
  EXPECT_EQ(grpc_status_of_http(404), 12);
  for (const uint16_t code : {429, 502, 503, 504}) EXPECT_EQ(grpc_status_of_http(code), 14);
  EXPECT_EQ(grpc_status_of_http(500), kGrpcUnknown);
  const uint16_t expected[] = {200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401};
  for (int64_t status = 0; status <= 16; ++status) EXPECT_EQ(http_status_of_grpc(status), expected[status]) << status;
  EXPECT_EQ(http_status_of_grpc(17), 500);
  EXPECT_EQ(http_status_of_grpc(kGrpcInvalidCode), 500);
}

TEST(GrpcStatus, MessagesArePercentEncoded) {
  EXPECT_EQ(grpc_message_encoded("plain ~"), "plain ~");
  EXPECT_EQ(grpc_message_encoded("50%\r\n\x7f\xc3\xa9"), "50%25%0D%0A%7F%C3%A9");
  EXPECT_EQ(grpc_message_decoded("50%25%0d%0A%C3%A9"), "50%\r\n\xc3\xa9");
  EXPECT_EQ(grpc_message_decoded("%"), "%");
  EXPECT_EQ(grpc_message_decoded("%4"), "%4");
  EXPECT_EQ(grpc_message_decoded("%zz%41"), "%zzA");
}

}  // namespace
}  // namespace millrace::stream
